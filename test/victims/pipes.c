/* Pipes and FIFOs: what waits in them, their sizes, their ends, opened once and again. */
#include "victim.h"
#include <poll.h>
#include <sys/ioctl.h>

static int small[2], full[2], packets[2], lonely, hung, again, fifo, fifo_twin, fifo_out;
static char block[65536];

static int waiting(int fd) {
  int n = -1;
  ioctl(fd, FIONREAD, &n);
  return n;
}

static int events(int fd) {
  struct pollfd p = {fd, POLLIN | POLLOUT, 0};
  poll(&p, 1, 0);
  return p.revents;
}

static ino_t inode(int fd) {
  struct stat s;
  fstat(fd, &s);
  return s.st_ino;
}

/* Everything is read and written back, so that the next look finds the same. */
static void turn(int in, int out, const char *want, int size) {
  static char got[65536];
  check(waiting(in) == size, "%d bytes wait, not %d", waiting(in), size);
  check(read(in, got, size) == size && !memcmp(got, want, size));
  check(write(out, got, size) == size);
}

static void verify(void) {
  turn(small[0], small[1], "one two three", 13);
  turn(full[0], full[1], block, sizeof block);
  check(fcntl(small[0], F_GETPIPE_SZ) == 16384 && fcntl(full[1], F_GETPIPE_SZ) == 65536);
  check((fcntl(small[1], F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == (O_WRONLY | O_NONBLOCK));
  check((fcntl(small[0], F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == O_RDONLY);
  check(!(events(full[1]) & POLLOUT) && (events(full[0]) & POLLIN));
  check((fcntl(again, F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == (O_RDONLY | O_NONBLOCK));
  check(waiting(again) == 13 && inode(again) == inode(small[1]));
  check(fcntl(packets[1], F_GETFL) & O_DIRECT);
  char got[16];
  check(write(packets[1], "ab", 2) == 2 && write(packets[1], "cde", 3) == 3);
  check(read(packets[0], got, sizeof got) == 2 && read(packets[0], got, sizeof got) == 3);
  check((events(lonely) & POLLHUP) && waiting(lonely) == 4);
  check(events(hung) & POLLERR);
  turn(fifo, fifo_out, "through the fifo", 16);
  check(inode(fifo) == inode(fifo_out) && waiting(fifo_twin) == 16);
  struct stat s;
  check(!stat("fifo", &s) && s.st_ino == inode(fifo) && S_ISFIFO(s.st_mode));
}

int main(void) {
  int half[2], dead[2];
  fill_known(block, sizeof block, 3);
  check(!pipe2(small, O_CLOEXEC) && !pipe(full) && !pipe2(packets, O_DIRECT) && !pipe(half) && !pipe(dead));
  check(fcntl(small[0], F_SETPIPE_SZ, 16384) == 16384 && !fcntl(small[1], F_SETFL, O_NONBLOCK));
  check(write(small[1], "one two three", 13) == 13 && write(full[1], block, sizeof block) == sizeof block);
  check(write(half[1], "rest", 4) == 4);
  close(half[1]);
  lonely = half[0];
  close(dead[0]);
  hung = dead[1];
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", small[1]);
  again = open(path, O_RDONLY | O_NONBLOCK);
  check(again >= 0 && !mkfifo("fifo", 0600));
  fifo = open("fifo", O_RDONLY | O_NONBLOCK);
  fifo_out = open("fifo", O_WRONLY);
  fifo_twin = open("fifo", O_RDONLY);
  check(fifo >= 0 && fifo_out >= 0 && fifo_twin >= 0 && write(fifo_out, "through the fifo", 16) == 16);
  victim_ready();
  victim_loop(verify);
}
