/*
 * Programs executed all the time by a thread that is not the main one, beside others: all of them end, and the thread
 * goes on under the main thread's id. freeze-exec THREADS; the count of generations is in a file.
 */
#include "victim.h"
#include <pthread.h>

static void *idle(void *unused) {
  for (;;) pause();
  return unused;
}

static void *executes(void *arguments) {
  char **argv = arguments;
  for (volatile unsigned i = getpid() * 7919u % 50000; i > 0; i--) {
  }
  if (victim_asked()) victim_pass();
  int fd = open("progress", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  uint64_t count = 0;
  if (pread(fd, &count, sizeof count, 0) == 0) count = 0;
  count++;
  check(pwrite(fd, &count, sizeof count, 0) == sizeof count);
  close(fd);
  argv[0] = "again";
  execv("/proc/self/exe", argv);
  fail("exec");
}

int main(int argc, char **argv) {
  int threads = argc > 1 ? atoi(argv[1]) : 10;
  pthread_t thread;
  if (strcmp(argv[0], "again")) victim_ready();
  alarm(600);
  for (int i = 0; i < threads; i++) check(pthread_create(&thread, 0, idle, 0) == 0);
  check(pthread_create(&thread, 0, executes, argv) == 0);
  for (;;) pause();
}
