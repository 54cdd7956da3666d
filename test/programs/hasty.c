/*
 * Ends as soon as it sees that it has not run for a while: at once after a restore, while others of its threads may not
 * have begun.
 *
 *     hasty [THREADS]    20
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return t.tv_sec * 1000ll + t.tv_nsec / 1000000;
}

static void *wait_for_ever(void *nothing) {
  for (;;) pause();
  return nothing;
}

int main(int argc, char **argv) {
  int threads = argc > 1 ? atoi(argv[1]) : 20;
  for (int i = 0; i < threads; i++) {
    pthread_t thread;
    if (pthread_create(&thread, 0, wait_for_ever, 0)) return 2;
  }
  /* Not by the tests' machine being busy. */
  int64_t limit = 1500;
  printf("READY %d\n", getpid());
  fflush(stdout);
  for (int64_t last = now(), is; (is = now()) - last < limit; last = is) usleep(1000);
  _exit(7);
}
