/*
 * Rings of io_uring among threads and processes: one that belongs to a thread which is not the main one, one on which a
 * thread waits without ever seeing EINTR, and one that a child has inherited and uses alone.
 */
#include "uring.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static Ring owned, waited, inherited;
static _Atomic int stop, ready, finished;

static void exercise(Ring *r, uint64_t *turns) {
  for (int i = 0; i < 2; i++) ring_nop(r, ++*turns);
  check(ring_enter(r, 2, 2) == 2);
  ring_take(r, *turns - 1);
  ring_take(r, *turns);
}

static void *own(void *unused) {
  uint64_t turns = 0;
  ring_open(&owned, 4, 8, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
  ready++;
  while (!stop) {
    exercise(&owned, &turns);
    victim_nap(2);
  }
  finished++;
  return unused;
}

static void *await(void *unused) {
  ready++;
  int n = syscall(SYS_io_uring_enter, waited.fd, 0, 1, IORING_ENTER_GETEVENTS, 0, 0);
  check(n == 0, "%d", n);
  ring_take(&waited, 42);
  finished++;
  return unused;
}

int main(void) {
  pthread_t threads[2];
  ring_open(&waited, 4, 8, 0);
  ring_open(&inherited, 8, 8, 0);
  pid_t child = fork();
  check(child >= 0);
  if (child == 0) {
    uint64_t turns = 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
      exercise(&inherited, &turns);
      victim_nap(2);
    }
  }
  check(!pthread_create(&threads[0], 0, own, 0) && !pthread_create(&threads[1], 0, await, 0));
  while (ready < 2) victim_nap(1);
  victim_nap(10);
  victim_ready();
  victim_wait();
  check(finished == 0 && waitpid(child, 0, WNOHANG) == 0);
  ring_nop(&waited, 42);
  check(syscall(SYS_io_uring_enter, waited.fd, 1, 0, 0, 0, 0) == 1);
  stop = 1;
  for (int i = 0; i < 2; i++) check(!pthread_join(threads[i], 0));
  check(finished == 2 && !kill(child, SIGKILL) && waitpid(child, 0, 0) == child);
  victim_pass();
}
