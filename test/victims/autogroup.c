/* The niceness of sessions (sched_autogroup(7)): that of the root, of a child in its own session, and one without. */
#include "victim.h"
#include <signal.h>
#include <sys/prctl.h>

static int niceness(pid_t pid) {
  char path[64], text[64];
  snprintf(path, sizeof path, "/proc/%d/autogroup", pid);
  slurp(path, text, sizeof text);
  int nice = 99;
  sscanf(text, "/autogroup-%*d nice %d", &nice);
  return nice;
}

static void be(int nice) {
  int fd = open("/proc/self/autogroup", O_WRONLY);
  if (fd < 0 && errno == ENOENT) skip("no autogroups in this kernel");
  check(fd >= 0 && dprintf(fd, "%d", nice) > 0);
  close(fd);
}

int main(void) {
  int ready[2];
  char byte;
  check(!pipe(ready));
  be(7);
  pid_t same = fork();
  if (same == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) pause();
  }
  pid_t other = fork();
  if (other == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setsid();
    be(-3);
    check(write(ready[1], "r", 1) == 1);
    for (;;) pause();
  }
  pid_t plain = fork();
  if (plain == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setsid();
    check(write(ready[1], "r", 1) == 1);
    for (;;) pause();
  }
  check(read(ready[0], &byte, 1) == 1 && read(ready[0], &byte, 1) == 1);
  victim_ready();
  victim_wait();
  check(niceness(getpid()) == 7 && niceness(same) == 7, "%d %d", niceness(getpid()), niceness(same));
  check(niceness(other) == -3 && niceness(plain) == 0, "%d %d", niceness(other), niceness(plain));
  victim_pass();
}
