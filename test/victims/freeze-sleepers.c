/*
 * Many threads, each asleep in one of several ways: freeze-sleepers THREADS. Those with a time limit measure how long
 * they slept: never shorter than asked for, and not much longer than that and the time the question tells of.
 */
#include "victim.h"
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

/* Each sleeps for a time of its own, so that nobody can be taken for another. A thousand may wait for their CPU. */
#define SLEEP_MS(i) (1500 + (i) * 7 % 1000)
#define EARLY_MS 20
#define LATE_MS 3000

static atomic_long ready, timed, awake;
static uint32_t word = 3;
static int pipe_ends[2];

static void *sleeper(void *number) {
  uintptr_t i = (uintptr_t)number;
  long ms = SLEEP_MS(i);
  struct timespec time = {ms / 1000, ms % 1000 * 1000000}, left;
  struct pollfd never = {pipe_ends[0], POLLIN, 0};
  ready++;
  int64_t began = now_ms(CLOCK_MONOTONIC);
  int result = 0;
  switch (i % 5) {
    case 0:
      result = poll(&never, 1, ms);
      break;
    case 1:
      result = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 3, &time, 0, 0) == -1 && errno == ETIMEDOUT ? 0 : errno;
      break;
    case 2:
      result = syscall(SYS_nanosleep, &time, &left);
      break;
    case 3:
      result = syscall(SYS_nanosleep, &time, 0);
      break;
    default:
      for (;;) poll(&never, 1, -1);
  }
  int64_t took = now_ms(CLOCK_MONOTONIC) - began;
  timed++;
  while (!victim_asked()) victim_nap(20);
  check(result == 0, "thread %ld: %d after %ld ms", (long)i, result, (long)took);
  check(took >= ms - EARLY_MS, "thread %ld slept %ld ms of %ld", (long)i, (long)took, ms);
  check(took <= ms + victim_gone.hi + LATE_MS, "thread %ld slept %ld ms of %ld", (long)i, (long)took, ms);
  awake++;
  return 0;
}

int main(int argc, char **argv) {
  uintptr_t count = argc > 1 ? atol(argv[1]) : 1000;
  long limited = 0;
  check(pipe(pipe_ends) == 0);
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 64 * 1024);
  for (uintptr_t i = 0; i < count; i++) {
    pthread_t thread;
    check(pthread_create(&thread, &small, sleeper, (void *)i) == 0);
    limited += i % 5 != 4;
  }
  while (ready < (long)count) victim_nap(1);
  victim_nap(20);
  victim_ready();
  alarm(600);
  while (awake < limited) victim_nap(5);
  check(timed == limited);
  victim_pass();
}
