/* All resource limits, some lower than what the process has already. */
#include "victim.h"
#include <signal.h>
#include <sys/resource.h>

#define INF RLIM_INFINITY
static struct rlimit was[RLIM_NLIMITS] = {
    [RLIMIT_CPU] = {5000, 6000},          [RLIMIT_FSIZE] = {1 << 30, INF},     [RLIMIT_DATA] = {1ull << 33, INF},
    [RLIMIT_STACK] = {3 << 20, 5 << 20},  [RLIMIT_CORE] = {0, 12345},          [RLIMIT_RSS] = {77 << 20, INF},
    [RLIMIT_NPROC] = {99, 100},           [RLIMIT_NOFILE] = {20, 100},         [RLIMIT_MEMLOCK] = {4096, 8192},
    [RLIMIT_AS] = {1ull << 36, 1ull << 40}, [RLIMIT_LOCKS] = {1, 2},           [RLIMIT_SIGPENDING] = {3, 500},
    [RLIMIT_MSGQUEUE] = {0, 819200},      [RLIMIT_NICE] = {0, 0},              [RLIMIT_RTPRIO] = {0, 0},
    [RLIMIT_RTTIME] = {100000, INF - 1},
};

static void verify(void) {
  for (int i = 0; i < RLIM_NLIMITS; i++) {
    struct rlimit is;
    check(!getrlimit(i, &is));
    check(is.rlim_cur == was[i].rlim_cur && is.rlim_max == was[i].rlim_max, "limit %d is %lu %lu, was %lu %lu", i,
          is.rlim_cur, is.rlim_max, was[i].rlim_cur, was[i].rlim_max);
  }
  check(fcntl(90, F_GETFD) >= 0, "a descriptor above the limit");
  uint64_t pending = 0;
  check(!syscall(SYS_rt_sigpending, &pending, 8l) && pending == 1ull << 49, "%lx", pending);
}

int main(void) {
  int fd = open("high", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  check(dup3(fd, 90, O_CLOEXEC) == 90);
  close(fd);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, 50);
  sigprocmask(SIG_BLOCK, &set, 0);
  /* More than RLIMIT_SIGPENDING will allow. */
  for (int i = 0; i < 10; i++) check(!sigqueue(getpid(), 50, (union sigval){i}));
  for (int i = 0; i < RLIM_NLIMITS; i++) check(!setrlimit(i, &was[i]), "limit %d", i);
  victim_ready();
  victim_watch(verify);
  for (int i = 0; i < 10; i++) {
    siginfo_t info;
    check(sigtimedwait(&set, &info, &(struct timespec){0, 0}) == 50 && info.si_int == i, "%d", i);
  }
  victim_pass();
}
