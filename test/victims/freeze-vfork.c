/*
 * A parent that waits in vfork for a slow child, time and again: freeze-vfork MS [WORKERS]. Each child sleeps for MS
 * milliseconds, then executes this program, which ends with code 7. With MS -1 the child never does, and a thread
 * beside waits in a call that the kernel would not restart.
 */
#include "victim.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/wait.h>

static char *again[] = {"freeze-vfork", "again", 0};

static void *endless(void *unused) {
  struct epoll_event event;
  check(epoll_wait(epoll_create1(0), &event, 1, -1) == 0, "epoll_wait has ended");
  return unused;
}

static void worker(long ms, atomic_long *progress) {
  while (!victim_asked()) {
    pid_t pid = vfork();
    if (pid == 0) {
      if (ms < 0)
        for (;;) pause();
      struct timespec nap = {ms / 1000, ms % 1000 * 1000000};
      nanosleep(&nap, 0);
      execv("/proc/self/exe", again);
      _exit(1);
    }
    int status = 0;
    check(pid > 0);
    check(waitpid(pid, &status, 0) == pid);
    check(WIFEXITED(status) && WEXITSTATUS(status) == 7, "status %x", status);
    (*progress)++;
  }
}

int main(int argc, char **argv) {
  if (argc > 1 && !strcmp(argv[1], "again")) _exit(7);
  long ms = argc > 1 ? atol(argv[1]) : 20;
  int workers = argc > 2 ? atoi(argv[2]) : 1;
  int fd = open("progress", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  check(fd >= 0 && ftruncate(fd, 4096) == 0);
  atomic_long *progress = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  alarm(600);
  pthread_t beside;
  if (ms < 0) check(pthread_create(&beside, 0, endless, 0) == 0);
  victim_ready();
  for (int i = 1; i < workers; i++)
    if (fork() == 0) {
      alarm(600);
      worker(ms, progress);
      _exit(0);
    }
  worker(ms, progress);
  int status;
  while (wait(&status) > 0) check(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  victim_pass();
}
