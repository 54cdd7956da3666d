/*
 * A shell job: runs on a terminal that others hold the other side of, in the session of a shell. It talks through files
 * of its directory, `ask` and `out`, and answers to lines and to the interrupt key of its terminal.
 */
#include "victim.h"
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>

static int extra, current;

static int description(int a, int b) {
  return syscall(SYS_kcmp, getpid(), getpid(), 0 /* KCMP_FILE */, (long)a, (long)b);
}

static void verify(void) {
  struct termios t;
  check(isatty(0) && isatty(1) && isatty(2));
  check(description(0, 1) == 0 && description(0, 2) == 0 && description(0, extra) != 0);
  check(getsid(0) != getpid() && tcgetsid(0) == getsid(0) && getpgrp() == getpid());
  check(tcgetpgrp(0) == getpgrp(), "in the foreground is %d", tcgetpgrp(0));
  check(!tcgetattr(0, &t) && t.c_cc[VEOL2] == 1 && (fcntl(extra, F_GETFL) & O_NONBLOCK) && !(fcntl(0, F_GETFL) & O_NONBLOCK));
  struct stat a, b, c;
  check(!fstat(0, &a) && !fstat(extra, &b) && a.st_rdev == b.st_rdev);
  char name[64];
  check(!ttyname_r(0, name, sizeof name) && !stat(name, &c) && c.st_rdev == a.st_rdev);
  check(tcgetsid(current) == getsid(0));
}

static void answer(void) {
  sigset_t keys;
  sigemptyset(&keys);
  sigaddset(&keys, SIGINT);
  if (sigtimedwait(&keys, NULL, &(struct timespec){0, 0}) == SIGINT) victim_say("INTERRUPTED");
  struct pollfd p = {0, POLLIN, 0};
  char line[64];
  if (poll(&p, 1, 0) != 1) return;
  ssize_t n = read(0, line, sizeof line - 1);
  if (n > 0) victim_say("LINE %.*s", (int)n - 1, line);
}

int main(void) {
  victim_ask_fd = open("ask", O_RDONLY | O_CREAT, 0644);
  victim_out_fd = open("out", O_WRONLY | O_APPEND | O_CREAT, 0644);
  sigset_t keys;
  sigemptyset(&keys);
  sigaddset(&keys, SIGINT);
  check(!sigprocmask(SIG_BLOCK, &keys, NULL));
  struct termios t;
  check(!tcgetattr(0, &t));
  t.c_cc[VEOL2] = 1;
  check(!tcsetattr(0, TCSANOW, &t));
  char name[64];
  check(!ttyname_r(0, name, sizeof name));
  extra = open(name, O_RDWR | O_NONBLOCK | O_NOCTTY);
  current = open("/dev/tty", O_RDWR);
  check(extra >= 0 && current >= 0);
  victim_ready();
  while (!victim_asked()) {
    verify();
    answer();
    victim_nap(5);
  }
  verify();
  victim_pass();
}
