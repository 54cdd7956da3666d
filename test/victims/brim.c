/*
 * Limits that are reached: "as" and "data" allow no more memory ("hard": no more may be allowed, either), "locked" no
 * more that is locked while all memory is, "files" no descriptor above the last one that is open, "full" has all of
 * them open.
 */
#include "victim.h"
#include <sys/resource.h>

static unsigned long kilobytes(const char *key) { return strtoul(status_line(key), 0, 10); }

#define TOP 200
static struct rlimit was;
static int which;

static void reach(int resource, unsigned long amount, bool hard) {
  which = resource;
  check(!getrlimit(resource, &was));
  was.rlim_cur = amount;
  if (hard) was.rlim_max = amount;
  check(!setrlimit(resource, &was));
}

static void verify(void) {
  struct rlimit now;
  check(!getrlimit(which, &now) && now.rlim_cur == was.rlim_cur && now.rlim_max == was.rlim_max, "%lu %lu", now.rlim_cur,
        now.rlim_max);
  if (which == RLIMIT_NOFILE) {
    check(fcntl(was.rlim_cur - 1, F_GETFD) == 0);
    return;
  }
  void *more = mmap(0, 64 << 10, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  check(more == MAP_FAILED);
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";
  bool hard = argc > 2;
  bool full = !strcmp(what, "full");
  if (!strcmp(what, "as")) {
    reach(RLIMIT_AS, kilobytes("VmSize:") << 10, hard);
  } else if (!strcmp(what, "data")) {
    reach(RLIMIT_DATA, kilobytes("VmData:") << 10, hard);
  } else if (!strcmp(what, "locked")) {
    check(!mlockall(MCL_CURRENT | MCL_FUTURE));
    reach(RLIMIT_MEMLOCK, kilobytes("VmLck:") << 10, hard);
    check(!setresgid(1234, 1234, 1234) && !setresuid(1234, 1234, 1234));
  } else {
    reach(RLIMIT_NOFILE, TOP, hard);
    for (int fd = full ? 3 : TOP - 1; fd < TOP; fd++) check(dup2(1, fd) == fd);
  }
  victim_ready();
  victim_loop(verify);
}
