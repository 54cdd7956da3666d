/*
 * Pseudoterminals whose slave has been closed by everybody: what waits for the master stays, then it is hung up; what
 * waits for the slave is read by whoever opens it again. And one whose slave nobody has opened yet.
 */
#include "victim.h"
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <termios.h>

static int closed, locked, empty, fresh;

static short events(int fd) {
  struct pollfd p = {fd, POLLIN, 0};
  check(poll(&p, 1, 0) >= 0);
  return p.revents;
}

static int waiting(int fd) {
  int n = -1;
  check(!ioctl(fd, FIONREAD, &n));
  return n;
}

static void verify(void) {
  int lock = -1;
  check(waiting(closed) == 15 && events(closed) == (POLLIN | POLLHUP), "%d %#x", waiting(closed), events(closed));
  check(waiting(locked) == 15 && !ioctl(locked, TIOCGPTLCK, &lock) && lock == 1);
  check(waiting(empty) == 0 && events(empty) == POLLHUP, "%d %#x", waiting(empty), events(empty));
  check(waiting(fresh) == 0 && events(fresh) == 0, "%d %#x", waiting(fresh), events(fresh));
}

static int with_closed_slave(const char *text) {
  int master, slave;
  check(!openpty(&master, &slave, 0, 0, 0));
  struct termios t;
  check(!tcgetattr(slave, &t));
  t.c_lflag &= ~ECHO;
  check(!tcsetattr(slave, TCSANOW, &t));
  check(write(slave, text, strlen(text)) == (ssize_t)strlen(text) && write(master, "in\n", 3) == 3);
  for (int tries = 0; tries < 500 && (waiting(slave) < 3 || (*text && waiting(master) < 15)); tries++) victim_nap(1);
  close(slave);
  return master;
}

int main(void) {
  closed = with_closed_slave("to the master\n");
  locked = with_closed_slave("to the master\n");
  check(!ioctl(locked, TIOCSPTLCK, &(int){1}));
  empty = with_closed_slave("");
  fresh = posix_openpt(O_RDWR | O_NOCTTY);
  check(fresh >= 0);
  victim_ready();
  victim_watch(verify);
  char text[40];
  check(read(closed, text, sizeof text) == 15 && !memcmp(text, "to the master\r\n", 15));
  check(read(closed, text, sizeof text) == -1 && errno == EIO);
  int slave = ioctl(closed, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_NONBLOCK);
  check(slave >= 0 && read(slave, text, sizeof text) == 3 && !memcmp(text, "in\n", 3));
  victim_pass();
}
