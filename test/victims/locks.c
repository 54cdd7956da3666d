/*
 * Locks: flock, POSIX and open file description ones, and leases ("lease", "breaking"). Each is checked by another
 * process (or another open file), since nobody sees his own.
 */
#include "victim.h"
#include <sys/file.h>
#include <sys/wait.h>

static int file, dup_file, second, flocked;
static pid_t me;

static int lock(int fd, int command, short type, off_t start, off_t length) {
  struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
  return fcntl(fd, command, &l);
}

/* What the kernel lists for this process, less its numbering: "POSIX  ADVISORY  WRITE 123 fe:00:77 0 EOF". */
static void listing(char *out, size_t room) {
  static const int *const fds[] = {&file, &dup_file, &second, &flocked};
  size_t used = 0;
  out[0] = 0;
  for (int i = 0; i < 4; i++) {
    char path[64], info[2048];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", *fds[i]);
    int fd = open(path, O_RDONLY);
    ssize_t n = read(fd, info, sizeof info - 1);
    close(fd);
    check(n > 0);
    info[n] = 0;
    for (char *line = strtok(info, "\n"); line; line = strtok(NULL, "\n"))
      if (!strncmp(line, "lock:", 5)) used += snprintf(out + used, room - used, "%d %s\n", *fds[i], line + 9);
  }
}

static char before[4096];

static void verify(void) {
  static char now[4096];
  listing(now, sizeof now);
  check(!strcmp(before, now), "%s was %s", now, before);
  int other = open("file", O_RDWR);
  struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  check(!fcntl(other, F_OFD_GETLK, &l) && l.l_type != F_UNLCK);
  check(lock(other, F_OFD_SETLK, F_WRLCK, 12, 1) == -1 && errno == EAGAIN);
  check(lock(other, F_OFD_SETLK, F_WRLCK, 205, 1) == -1 && errno == EAGAIN);
  check(lock(other, F_OFD_SETLK, F_RDLCK, 205, 1) == 0);
  int flocker = open("flocked", O_RDWR);
  check(flock(flocker, LOCK_EX | LOCK_NB) == -1 && errno == EWOULDBLOCK && !flock(flocker, LOCK_SH | LOCK_NB));
  /* Closing would release the POSIX locks of this very process: a child does it for the files it opened itself. */
  check(!close(flocker));
  check(me == getpid());
  int copy = dup(other);
  check(copy >= 0);
  close(copy);
}

static void verify_lease(void) {
  check(fcntl(file, F_GETLEASE) == F_WRLCK && fcntl(second, F_GETLEASE) == F_RDLCK);
  check(fcntl(file, F_GETOWN) == me && fcntl(file, F_GETSIG) == 0);
}

static void verify_breaking(void) { check(fcntl(file, F_GETLEASE) == F_UNLCK); }

static void leases(bool breaking) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGIO);
  check(!sigprocmask(SIG_BLOCK, &set, NULL));
  check(!fcntl(file, F_SETLEASE, F_WRLCK));
  if (breaking) {
    check(open("file", O_RDWR | O_NONBLOCK) == -1 && errno == EWOULDBLOCK);
    int signal;
    check(!sigwait(&set, &signal) && signal == SIGIO);
    victim_ready();
    victim_wait();
    verify_breaking();
    struct timespec none = {0, 0};
    check(sigtimedwait(&set, NULL, &none) == -1 && errno == EAGAIN, "the signal came twice");
    victim_pass();
  }
  second = open("flocked", O_RDONLY);
  close(flocked);
  check(!fcntl(second, F_SETLEASE, F_RDLCK));
  victim_ready();
  victim_loop(verify_lease);
}

int main(int argc, char **argv) {
  me = getpid();
  file = open("file", O_RDWR | O_CREAT, 0600);
  flocked = open("flocked", O_RDWR | O_CREAT, 0600);
  check(file >= 0 && flocked >= 0);
  if (argc > 1) leases(!strcmp(argv[1], "breaking"));
  dup_file = dup(file);
  second = open("file", O_RDWR);
  check(!flock(flocked, LOCK_SH));
  check(!lock(second, F_OFD_SETLK, F_RDLCK, 200, 0));
  check(!lock(file, F_SETLK, F_WRLCK, 10, 5) && !lock(file, F_SETLK, F_RDLCK, 100, 1));
  listing(before, sizeof before);
  victim_ready();
  /* verify() opens the file again, and closing it would drop the POSIX locks: once, at the end. */
  victim_wait();
  verify();
  victim_pass();
}
