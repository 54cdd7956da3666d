/*
 * Half pipes: the other halves are held by a process outside of the tree, which is restored without it. What waits then
 * can be read, then the end comes; writing is EPIPE. A FIFO whose name is gone is such a pipe, too. With "running" the
 * victim is not restored, and nothing of all that may be.
 */
#include "victim.h"
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

static int waiting(int fd) {
  int n = -1;
  ioctl(fd, FIONREAD, &n);
  return n;
}

static int events(int fd) {
  struct pollfd p = {fd, 0, 0};
  poll(&p, 1, 0);
  return p.revents;
}

static void ended(int in, const char *rest) {
  char got[64] = "";
  ssize_t length = strlen(rest);
  check(events(in) == POLLHUP, "events %x", events(in));
  check(read(in, got, sizeof got) == length && !strcmp(got, rest), "read %s", got);
  check(read(in, got, sizeof got) == 0);
}

static void broken(int out) {
  check(events(out) & POLLERR, "events %x", events(out));
  check(write(out, "x", 1) == -1 && errno == EPIPE);
}

int main(int argc, char **argv) {
  bool running = argc > 1 && !strcmp(argv[1], "running");
  int in[2], out[2], fifo_in, fifo_out;
  signal(SIGPIPE, SIG_IGN);
  check(!pipe(in) && !pipe(out) && !mkfifo("fifo", 0600));
  int both = open("fifo", O_RDWR);
  fifo_in = open("fifo", O_RDONLY);
  fifo_out = open("fifo", O_WRONLY);
  check(both >= 0 && fifo_in >= 0 && fifo_out >= 0 && !close(both) && !unlink("fifo"));
  check(fcntl(in[0], F_SETPIPE_SZ, 16384) == 16384 && fcntl(out[1], F_SETPIPE_SZ, 32768) == 32768);
  check(write(in[1], "kept", 4) == 4 && write(out[1], "theirs", 6) == 6 && write(fifo_out, "named", 5) == 5);
  pid_t pid = fork();
  if (pid == 0) {
    /* An orphan is in no tree but that of whoever takes in orphans. */
    setsid();
    if (fork()) _exit(0);
    for (;;) pause();
  }
  check(waitpid(pid, 0, 0) == pid);
  close(in[1]);
  close(out[0]);
  close(fifo_out);
  check(!(events(in[0]) & POLLHUP) && !(events(out[1]) & POLLERR));
  victim_ready();
  victim_wait();
  if (running) {
    check(waiting(in[0]) == 4 && waiting(fifo_in) == 5 && waiting(out[1]) == 6);
    check(!(events(in[0]) & POLLHUP) && !(events(fifo_in) & POLLHUP) && !(events(out[1]) & POLLERR));
    victim_pass();
  }
  check(waiting(in[0]) == 4 && fcntl(in[0], F_GETPIPE_SZ) == 16384 && fcntl(out[1], F_GETPIPE_SZ) == 32768);
  check(waiting(out[1]) == 0, "what was another's to read waits again");
  ended(in[0], "kept");
  ended(fifo_in, "named");
  broken(out[1]);
  victim_pass();
}
