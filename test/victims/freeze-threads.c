/*
 * Threads that come and go: freeze-threads CHAINS. Each thread of a chain does a little, starts the next one and ends.
 * What each has done is counted twice, in the thread and by the chain.
 */
#include "victim.h"
#include <pthread.h>
#include <stdatomic.h>

static atomic_long begun, ended, chains;
static atomic_int stop;
/* The progress of all, for those who look from outside. */
static atomic_long *progress;

static void *link_of(void *number) {
  uintptr_t i = (uintptr_t)number;
  volatile uint64_t sum = 0;
  for (unsigned k = 0; k < i % 4000; k++) sum += known_word(1, k);
  (*progress)++;
  ended++;
  if (stop) {
    chains--;
    return 0;
  }
  begun++;
  pthread_t next;
  int error;
  while ((error = pthread_create(&next, 0, link_of, (void *)(i * 31 + 7))) == EAGAIN) victim_nap(1);
  check(error == 0, "pthread_create: %d", error);
  pthread_detach(next);
  return 0;
}

int main(int argc, char **argv) {
  int count = argc > 1 ? atoi(argv[1]) : 4;
  int fd = open("progress", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  check(fd >= 0 && ftruncate(fd, 4096) == 0);
  progress = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  for (int i = 0; i < count; i++) {
    pthread_t first;
    begun++;
    chains++;
    check(pthread_create(&first, 0, link_of, (void *)(uintptr_t)(i + 1)) == 0);
    pthread_detach(first);
  }
  victim_ready();
  alarm(600);
  victim_wait();
  stop = 1;
  for (int i = 0; i < 5000 && chains > 0; i++) victim_nap(1);
  check(chains == 0 && begun == ended, "%ld chains, %ld begun, %ld ended", (long)chains, (long)begun, (long)ended);
  victim_pass();
}
