/*
 * Whom signals about open files go to (F_SETOWN): of the terminal that controls the session, a child that was born
 * later; of a pipe, the process that the argument names, which is no relative.
 */
#include "family.h"
#include <pty.h>
#include <sys/ioctl.h>

static int slave, ends[2], stranger;

static void verify(void) {
  check(fcntl(slave, F_GETOWN) == pid_of(1), "%d", fcntl(slave, F_GETOWN));
  check(fcntl(slave, F_GETSIG) == SIGUSR2);
}

static void last(void) {
  verify();
  int now = fcntl(ends[0], F_GETOWN);
  check(now == (kill(stranger, 0) ? 0 : stranger), "%d", now);
}

int main(int argc, char **argv) {
  check(argc > 1);
  stranger = atoi(argv[1]);
  family_found(2);
  int master;
  check(!openpty(&master, &slave, 0, 0, 0) && getsid(0) == getpid() && !ioctl(slave, TIOCSCTTY, 0));
  check(!pipe(ends) && !fcntl(ends[0], F_SETOWN, stranger));
  int number = fork() ? 0 : 1;
  if (number == 1) check(!fcntl(slave, F_SETOWN, getpid()) && !fcntl(slave, F_SETSIG, SIGUSR2));
  family_born(number);
  family_live_and(verify, last);
}
