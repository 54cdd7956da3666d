/*
 * Descriptors that stand for threads (pidfd_open with PIDFD_THREAD), living and dead, in the process itself and in a
 * child; and a file whose events a thread is told of (F_SETOWN_EX).
 */
#include "family.h"
#include <pthread.h>

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif

static _Atomic int32_t tid, gone;
static int living = -1, main_thread = -1, dead = -1, owned[2];

static void *stay(void *none) {
  (void)none;
  tell(&tid, syscall(SYS_gettid));
  for (;;) victim_nap(1000);
  return 0;
}

static void *leave(void *none) {
  (void)none;
  tell(&gone, syscall(SYS_gettid));
  while (dead < 0) victim_nap(1);
  return 0;
}

static int of_thread(int its) {
  int fd = syscall(SYS_pidfd_open, its, PIDFD_THREAD);
  if (fd < 0 && errno == EINVAL) skip("this kernel has no pidfds of threads");
  check(fd >= 0);
  return fd;
}

/* Whom fdinfo says a pidfd stands for. */
static int stands_for(int fd) {
  char path[40], text[1024];
  int its = 0;
  snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
  slurp(path, text, sizeof text);
  char *line = strstr(text, "\nPid:");
  check(line && sscanf(line, "\nPid: %d", &its) == 1);
  return its;
}

static void verify(void) {
  check(stands_for(living) == tid && stands_for(main_thread) == pid_of(0) && stands_for(dead) == -1);
  check(!syscall(SYS_pidfd_send_signal, living, 0, 0l, 0l));
  check(syscall(SYS_pidfd_send_signal, dead, 0, 0l, 0l) == -1 && errno == ESRCH);
  check(fcntl(living, F_GETFL) & PIDFD_THREAD && fcntl(dead, F_GETFL) & PIDFD_THREAD);
  struct f_owner_ex owner = {0, 0};
  check(!fcntl(owned[0], F_GETOWN_EX, &owner) && owner.type == F_OWNER_TID && owner.pid == tid, "%d %d", owner.type,
        owner.pid);
}

int main(void) {
  family_found(2);
  pthread_t first, second;
  check(!pthread_create(&first, 0, stay, 0) && !pthread_create(&second, 0, leave, 0));
  await(&tid, 1);
  await(&gone, 1);
  living = of_thread(tid);
  main_thread = of_thread(getpid());
  dead = of_thread(gone);
  check(!pthread_join(second, 0) && !pipe(owned));
  struct f_owner_ex owner = {F_OWNER_TID, tid};
  check(!fcntl(owned[0], F_SETOWN_EX, &owner));
  int number = fork() ? 0 : 1;
  family_born(number);
  family_live(verify);
}
