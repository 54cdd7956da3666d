/*
 * Threads in poll(2) with a time limit: polls THREADS. When it is asked, none may have returned: neither with EINTR,
 * nor because its time was over.
 */
#include "victim.h"
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

/* Far longer than any test takes; each has a time of its own. */
#define SLEEP_MS(i) (600000 + (i) * 100)

static atomic_long ready, returned, last_errno;
static int pipe_ends[2];

static void *sleeper(void *number) {
  struct pollfd never = {pipe_ends[0], POLLIN, 0};
  ready++;
  int result = poll(&never, 1, SLEEP_MS((uintptr_t)number));
  last_errno = result < 0 ? errno : 0;
  returned++;
  return 0;
}

int main(int argc, char **argv) {
  uintptr_t count = argc > 1 ? atol(argv[1]) : 1000;
  check(pipe(pipe_ends) == 0);
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 64 * 1024);
  for (uintptr_t i = 0; i < count; i++) {
    pthread_t thread;
    check(pthread_create(&thread, &small, sleeper, (void *)i) == 0);
  }
  while (ready < (long)count) victim_nap(1);
  victim_nap(50);
  victim_ready();
  victim_wait();
  check(returned == 0, "%ld have returned, errno %ld", (long)returned, (long)last_errno);
  victim_pass();
}
