/* A session leader with a terminal of its own: both sides of a pseudoterminal, one of another, one that is gone. */
#include "victim.h"
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>

static int master, slave, twin, current, locked, gone, typist, reader, kept;
static struct termios want;
static char name[64];

static int open_master(void) {
  int fd = open("/dev/ptmx", O_RDWR | O_NOCTTY);
  check(fd >= 0);
  return fd;
}

static int open_slave(int of, int flags) {
  int number = -1, unlock = 0;
  check(!ioctl(of, TIOCGPTN, &number) && !ioctl(of, TIOCSPTLCK, &unlock));
  snprintf(name, sizeof name, "/dev/pts/%d", number);
  int fd = open(name, flags | O_NOCTTY);
  check(fd >= 0);
  return fd;
}

static int waiting(int fd) {
  int n = -1;
  ioctl(fd, FIONREAD, &n);
  return n;
}

/* Two lines and the beginning of a third were typed, and echoed; nobody has read any of it. */
static void verify_typed(bool read_it) {
  char line[64];
  check(waiting(reader) == 18 && waiting(typist) == 24, "%d in, %d out", waiting(reader), waiting(typist));
  if (!read_it) return;
  check(read(reader, line, sizeof line) == 9 && !memcmp(line, "line one\n", 9));
  check(read(reader, line, sizeof line) == 9 && !memcmp(line, "line two\n", 9));
  check(read(typist, line, sizeof line) == 24 && !memcmp(line, "line one\r\nline two\r\npart", 24));
  check(write(typist, " of it\n", 7) == 7);
  check(read(reader, line, sizeof line) == 11 && !memcmp(line, "part of it\n", 11));
}

static void verify(void) {
  static bool done;
  bool asked = victim_asked();
  if (!done) verify_typed(asked);
  done = asked;
  struct termios got;
  memset(&got, 0, sizeof got);
  check(!tcgetattr(slave, &got));
  check(got.c_iflag == want.c_iflag && got.c_oflag == want.c_oflag && got.c_lflag == want.c_lflag);
  check(!memcmp(got.c_cc, want.c_cc, 19) && got.c_cc[VINTR] == 7);
  struct winsize size;
  check(!ioctl(slave, TIOCGWINSZ, &size) && size.ws_row == 51 && size.ws_col == 173 && size.ws_xpixel == 4);
  int number = -1, lock = -1, packet = -1, exclusive = -1;
  check(!ioctl(master, TIOCGPTN, &number));
  snprintf(name, sizeof name, "/dev/pts/%d", number);
  struct stat a, b;
  check(!fstat(slave, &a) && !stat(name, &b) && a.st_rdev == b.st_rdev && (a.st_mode & 07777) == 0606);
  check(!ioctl(master, TIOCGPKT, &packet) && packet == 0 && !ioctl(locked, TIOCGPKT, &packet) && packet == 1);
  check(!ioctl(locked, TIOCGPTLCK, &lock) && lock == 1 && !ioctl(master, TIOCGPTLCK, &lock) && lock == 0);
  check(!ioctl(slave, TIOCGEXCL, &exclusive) && exclusive == 1);
  check(getsid(0) == getpid() && tcgetsid(slave) == getpid() && tcgetpgrp(slave) == getpgrp());
  check(tcgetsid(current) == getpid() && tcgetsid(twin) == getpid());
  check((fcntl(twin, F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == (O_RDONLY | O_NONBLOCK));
  check(fcntl(kept, F_GETFD) == 0);
  char line[32];
  check(write(current, "out", 3) == 3 && read(master, line, sizeof line) == 3 && !memcmp(line, "out", 3));
  check(write(master, "in\n", 3) == 3 && read(slave, line, sizeof line) == 3 && !memcmp(line, "in\n", 3));
  check(read(twin, line, 1) < 0 && errno == EAGAIN);
  check(read(gone, line, 1) == 0 && ioctl(gone, TIOCGWINSZ, &size) < 0 && errno == EIO);
  /* The interrupt character reaches us, the foreground of our terminal. */
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, SIGINT);
  check(write(master, "\7", 1) == 1 && sigtimedwait(&only, NULL, &(struct timespec){1, 0}) == SIGINT);
}

int main(void) {
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGINT);
  check(!sigprocmask(SIG_BLOCK, &blocked, NULL));
  if (getsid(0) != getpid()) check(setsid() > 0);
  master = open_master();
  slave = open_slave(master, O_RDWR);
  check(!fchmod(slave, 0606));
  twin = open_slave(master, O_RDONLY | O_NONBLOCK);
  check(!tcgetattr(slave, &want));
  want.c_lflag &= ~ECHO;
  want.c_oflag &= ~OPOST;
  want.c_cc[VINTR] = 7;
  check(!tcsetattr(slave, TCSANOW, &want) && !tcgetattr(slave, &want));
  check(!ioctl(slave, TIOCSWINSZ, &(struct winsize){51, 173, 4, 5}));
  check(!ioctl(slave, TIOCSCTTY, 0));
  current = open("/dev/tty", O_RDWR);
  check(current >= 0 && !ioctl(slave, TIOCEXCL, 0));
  locked = open_master();
  check(!ioctl(locked, TIOCSPTLCK, &(int){1}) && !ioctl(locked, TIOCPKT, &(int){1}));
  int short_lived = open_master();
  gone = open_slave(short_lived, O_RDWR);
  close(short_lived);
  /* The file keeps O_CLOEXEC among its flags, and /proc shows that for the descriptor too. */
  kept = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  check(kept >= 0 && !fcntl(kept, F_SETFD, 0));
  typist = open_master();
  reader = open_slave(typist, O_RDWR);
  check(write(typist, "line one\nline two\npart", 22) == 22);
  while (waiting(reader) < 18 || waiting(typist) < 24) victim_nap(1);
  verify();
  victim_ready();
  /* It holds still until then: in the middle of a look, queues are half read, and two dumps differ. */
  victim_wait();
  verify();
  victim_pass();
}
