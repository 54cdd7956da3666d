/*
 * Pipes nobody reads: what waits in them can still be had by whoever opens them anew, and they keep their size. With
 * "signalled" one has a writer that is signalled: what waits in that is lost with a restore, and kept with "running"
 * too.
 */
#include "victim.h"
#include <signal.h>
#include <sys/ioctl.h>

static int out, twin, empty, signalled = -1;
static bool keeps = true;

static void has(int fd, const char *want, int size) {
  int n = -1;
  check(!ioctl(fd, FIONREAD, &n) && n == (int)strlen(want), "%d bytes wait", n);
  check(fcntl(fd, F_GETPIPE_SZ) == size, "size %d", fcntl(fd, F_GETPIPE_SZ));
  check(write(fd, "x", 1) == -1 && errno == EPIPE);
}

static void verify(void) {
  has(out, "unread", 8192);
  has(twin, "unread", 8192);
  has(empty, "", 16384);
  if (signalled < 0) return;
  check(fcntl(signalled, F_GETPIPE_SZ) == 4096 && (fcntl(signalled, F_GETFL) & O_ASYNC));
  if (keeps) has(signalled, "quiet", 4096);
  sigset_t pending;
  check(!sigpending(&pending) && !sigismember(&pending, SIGIO), "a signal that nobody should have sent");
}

int main(int argc, char **argv) {
  int a[2], b[2], c[2];
  signal(SIGPIPE, SIG_IGN);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGIO);
  check(!sigprocmask(SIG_BLOCK, &set, 0));
  check(!pipe(a) && !pipe(b) && !pipe(c));
  check(fcntl(a[1], F_SETPIPE_SZ, 8192) == 8192 && fcntl(b[1], F_SETPIPE_SZ, 16384) == 16384);
  check(fcntl(c[1], F_SETPIPE_SZ, 4096) == 4096 && write(c[1], "quiet", 5) == 5 && write(a[1], "unread", 6) == 6);
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", a[1]);
  twin = open(path, O_WRONLY);
  check(twin >= 0);
  close(a[0]);
  close(b[0]);
  close(c[0]);
  out = a[1];
  empty = b[1];
  signalled = c[1];
  if (argc == 1) {
    close(signalled);
    signalled = -1;
  }
  keeps = argc > 1 && !strcmp(argv[1], "running");
  if (signalled >= 0) check(!fcntl(signalled, F_SETOWN, getpid()) && !fcntl(signalled, F_SETFL, O_ASYNC));
  victim_ready();
  victim_watch(verify);
  char got[16] = "";
  int in = open(path, O_RDONLY | O_NONBLOCK);
  check(in >= 0 && read(in, got, sizeof got) == 6 && !strcmp(got, "unread"), "%s", got);
  if (!keeps) victim_pass();
  snprintf(path, sizeof path, "/proc/self/fd/%d", signalled);
  in = open(path, O_RDONLY | O_NONBLOCK);
  check(in >= 0 && read(in, got, sizeof got) == 5 && !memcmp(got, "quiet", 5), "%s", got);
  victim_pass();
}
