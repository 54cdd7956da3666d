/*
 * A session whose leader got its terminal late: a child that was born before has none, nor has its child; one that was
 * born afterwards has it. Another one gave it up, when its own child had it already.
 */
#include "family.h"
#include <sys/ioctl.h>

enum { LEADER, EARLY, BELOW_EARLY, LATE, DROPPED, BELOW_DROPPED, COUNT };

static int current = -1; /* /dev/tty, opened when there was a terminal */

static bool has_terminal(int member) { return member == LEADER || member == LATE || member == BELOW_DROPPED; }

static void verify(void) {
  /* Fails with ENXIO if there is none. */
  int fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC), why = errno;
  check((fd >= 0) == has_terminal(me) && (fd >= 0 || why == ENXIO), "member %d: %d %s", me, fd, strerrorname_np(why));
  if (fd >= 0) close(fd);
  int number = -1;
  check(current < 0 || (!ioctl(current, FIONREAD, &number) && number == 0));
}

static void live(int member) {
  family_born(member);
  family_live(verify);
}

int main(void) {
  char name[64];
  int number = -1, unlock = 0;
  family_found(COUNT);
  if (getsid(0) != getpid()) check(setsid() > 0);
  if (fork() == 0) {
    if (fork() == 0) live(BELOW_EARLY);
    live(EARLY);
  }
  family_await(EARLY, BORN), family_await(BELOW_EARLY, BORN);
  int master = open("/dev/ptmx", O_RDWR | O_NOCTTY);
  check(master >= 0 && !ioctl(master, TIOCGPTN, &number) && !ioctl(master, TIOCSPTLCK, &unlock));
  snprintf(name, sizeof name, "/dev/pts/%d", number);
  int slave = open(name, O_RDWR | O_NOCTTY);
  check(slave >= 0 && !ioctl(slave, TIOCSCTTY, 0));
  if (fork() == 0) live(LATE);
  if (fork() == 0) {
    if (fork() == 0) live(BELOW_DROPPED);
    family_await(BELOW_DROPPED, BORN);
    check((current = open("/dev/tty", O_RDWR)) >= 0 && !ioctl(slave, TIOCNOTTY));
    live(DROPPED);
  }
  live(LEADER);
}
