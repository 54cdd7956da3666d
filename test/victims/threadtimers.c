/*
 * POSIX timers of a process with threads: one that signals a certain thread, one that counts a thread's CPU time, one
 * whose thread has ended, and hundreds that stand still.
 */
#include "victim.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#define MANY 700
#define LONG_MS 1000000

static _Atomic int tid, gone, astray, told;
static int timers[MANY], to_thread, of_thread, to_dead;

static int make(clockid_t clock, int notify, int target, int signo) {
  struct sigevent event = {.sigev_notify = notify, .sigev_signo = signo};
  event._sigev_un._tid = target;
  int id = -1;
  check(!syscall(SYS_timer_create, clock, &event, &id));
  return id;
}

static void set(int id, long milliseconds, long interval) {
  struct itimerspec setting = {{interval / 1000, interval % 1000 * 1000000},
                               {milliseconds / 1000, milliseconds % 1000 * 1000000}};
  check(!syscall(SYS_timer_settime, id, 0, &setting, 0l));
}

static long left(int id) {
  struct itimerspec setting;
  check(!syscall(SYS_timer_gettime, id, &setting), "timer %d", id);
  return setting.it_value.tv_sec * 1000 + setting.it_value.tv_nsec / 1000000;
}

static void on_signal(int signal) {
  (void)signal;
  if (syscall(SYS_gettid) == tid) told++;
  else
    astray++;
}

static void *idle(void *none) {
  of_thread = make(CLOCK_THREAD_CPUTIME_ID, SIGEV_THREAD_ID, syscall(SYS_gettid), SIGRTMIN);
  set(of_thread, LONG_MS, 0);
  tid = syscall(SYS_gettid);
  for (;;) victim_nap(1000);
  return none;
}

static void *leave(void *none) {
  to_dead = make(CLOCK_MONOTONIC, SIGEV_THREAD_ID, syscall(SYS_gettid), SIGRTMIN);
  set(to_dead, LONG_MS, 10);
  gone = 1;
  return none;
}

static void verify(void) {
  int before = told;
  for (int turn = 0; told == before; turn++) {
    check(turn < 2000, "no signal any more");
    victim_nap(1);
  }
  check(!astray, "%d signals went to another thread", astray);
  for (int i = 0; i < MANY; i++) check(left(timers[i]) == 0);
  check(left(to_dead) > LONG_MS / 2);
}

int main(void) {
  check(signal(SIGRTMIN, on_signal) != SIG_ERR);
  pthread_t one, two;
  check(!pthread_create(&one, 0, idle, 0) && !pthread_create(&two, 0, leave, 0) && !pthread_join(two, 0));
  while (!tid) victim_nap(1);
  for (int i = 0; i < MANY; i++) timers[i] = make(CLOCK_MONOTONIC, SIGEV_NONE, 0, 0);
  to_thread = make(CLOCK_MONOTONIC, SIGEV_THREAD_ID, tid, SIGRTMIN);
  set(to_thread, 20, 20);
  verify();
  victim_ready();
  while (!victim_asked()) victim_nap(5);
  verify();
  /* This thread's time is not that of the other. */
  long then = left(of_thread), until = now_ms(CLOCK_THREAD_CPUTIME_ID) + 300;
  check(then > LONG_MS - 1000);
  while (now_ms(CLOCK_THREAD_CPUTIME_ID) < until) {
  }
  check(then - left(of_thread) < 150, "%ld ms of 300", then - left(of_thread));
  victim_pass();
}
