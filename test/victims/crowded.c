/*
 * More processes of one user than each of them may make, and more signals queued than one of them may have queued: that
 * they were there before the limits counts. What the kernel notes of a process that changes its user when there are too
 * many is seen by execve(2), which refuses.
 */
#include "family.h"
#include <sys/resource.h>

#define MANY 6
#define USER 64123

static void limit(int resource, rlim_t most) {
  struct rlimit wanted = {most, most};
  check(!setrlimit(resource, &wanted));
}

static void verify(void) {
  struct rlimit is;
  check(!getrlimit(RLIMIT_NPROC, &is) && is.rlim_cur == 2 && is.rlim_max == 2);
  check(!getrlimit(RLIMIT_SIGPENDING, &is) && is.rlim_cur == (me == 1 ? 1 : 100) && is.rlim_max == is.rlim_cur);
  check(getuid() == USER && fork() == -1 && errno == EAGAIN);
}

static void last(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN);
  siginfo_t info;
  struct timespec none = {0, 0};
  for (int i = 0; i < (me == 0 ? 5 : 1); i++)
    check(sigtimedwait(&set, &info, &none) == SIGRTMIN && info.si_value.sival_int == i, "signal %d", i);
  check(sigtimedwait(&set, &info, &none) == -1 && errno == EAGAIN);
  tell(&family->member[me].stage, DONE);
  for (int i = 0; i < family->count; i++) family_await(i, DONE);
  char *words[] = {"crowded", me ? "member" : "root", 0};
  check(!syscall(SYS_execveat, 3, "", words, environ, 0x1000 /* AT_EMPTY_PATH */));
}

static void be(int number) {
  limit(RLIMIT_SIGPENDING, 100);
  check(!setresgid(USER, USER, USER) && !setresuid(USER, USER, USER));
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN);
  check(!sigprocmask(SIG_BLOCK, &set, 0));
  if (number != 1) await(&family->member[1].stage, BORN);
  for (int i = 0; i < (number == 0 ? 5 : 1); i++) check(!sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i}));
  if (number == 1) limit(RLIMIT_SIGPENDING, 1);
  family_born(number);
  for (int i = 0; i < MANY; i++) family_await(i, BORN);
  limit(RLIMIT_NPROC, 2);
  family_live_and(verify, last);
}

int main(int argc, char **argv) {
  if (argc > 1) {
    while (wait(0) > 0) {
    }
    if (!strcmp(argv[1], "root")) victim_pass();
    return 0;
  }
  (void)argv;
  check(open("/proc/self/exe", O_RDONLY) == 3);
  family_found(MANY);
  for (int i = 1; i < MANY; i++)
    if (!fork()) be(i);
  be(0);
}
