/*
 * A flock that lives through a mapping alone: its descriptor was closed, as every Java virtual machine does it.
 * "family": a child has the mapping too, made by its parent; and one of its own.
 * "code": the mapping is private and may be executed; the lock is kept. "library": the same of a file with a name
 * that libraries have; the lock is lost.
 */
#include "victim.h"
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static char *mapped;

static char *lock_and_map(const char *name, int operation) {
  int fd = open(name, O_RDWR | O_CREAT, 0600);
  check(fd >= 0 && !ftruncate(fd, 2 * PAGE) && !flock(fd, operation));
  char *at = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  check(at != MAP_FAILED && !close(fd));
  at[0] = 'm';
  return at;
}

/* As what maps code of its own does it, and as nobody is known to do it with a library. */
static void lock_code(const char *name) {
  int fd = open(name, O_RDWR | O_CREAT, 0700);
  check(fd >= 0 && !ftruncate(fd, PAGE) && !flock(fd, LOCK_EX));
  check(mmap(0, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) != MAP_FAILED && !close(fd));
  victim_ready();
  victim_wait();
  fd = open(name, O_RDWR);
  check(fd >= 0);
  if (strstr(name, ".so")) check(!flock(fd, LOCK_EX | LOCK_NB));
  else check(flock(fd, LOCK_EX | LOCK_NB) == -1 && errno == EWOULDBLOCK);
  victim_pass();
}

/* "FLOCK ADVISORY WRITE 123 fe:00:77 0 EOF": who holds the lock on a file. */
static int holder(const char *name) {
  static char text[65536];
  struct stat s;
  char want[64];
  check(!stat(name, &s));
  snprintf(want, sizeof want, ":%lu 0 EOF", (unsigned long)s.st_ino);
  slurp("/proc/locks", text, sizeof text);
  int found = 0;
  for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
    int pid = 0;
    if (strstr(line, want) && sscanf(line, "%*d: FLOCK ADVISORY %*s %d", &pid) == 1) found = pid;
  }
  return found;
}

static void locked(const char *name, int refused, int granted) {
  int fd = open(name, O_RDWR);
  check(fd >= 0 && flock(fd, refused | LOCK_NB) == -1 && errno == EWOULDBLOCK, "%s", name);
  if (granted) check(!flock(fd, granted | LOCK_NB));
  close(fd);
}

int main(int argc, char **argv) {
  bool family = argc > 1 && !strcmp(argv[1], "family");
  bool lost = argc > 1 && !strcmp(argv[1], "lost");
  if (argc > 1 && !strcmp(argv[1], "code")) lock_code("cache");
  if (argc > 1 && !strcmp(argv[1], "library")) lock_code("cache.so.1");
  mapped = lock_and_map("exclusive", LOCK_EX);
  char *shared = lock_and_map("shared", LOCK_SH);
  pid_t child = 0, me = getpid();
  int ready[2];
  check(!pipe(ready));
  if (family && !(child = fork())) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    char *own = lock_and_map("own", LOCK_EX);
    check(write(ready[1], "r", 1) == 1);
    for (;;) {
      if (own[0] != 'm' || mapped[0] != 'm' || getppid() != me) _exit(1);
      victim_nap(5);
    }
  }
  char byte;
  if (family) check(read(ready[0], &byte, 1) == 1);
  close(ready[0]);
  close(ready[1]);
  victim_ready();
  victim_wait();
  check(mapped[0] == 'm' && shared[0] == 'm');
  if (lost) {
    int fd = open("exclusive", O_RDWR);
    check(fd >= 0 && !flock(fd, LOCK_EX | LOCK_NB));
    victim_pass();
  }
  locked("exclusive", LOCK_EX, 0);
  locked("exclusive", LOCK_SH, 0);
  locked("shared", LOCK_EX, LOCK_SH);
  check(holder("exclusive") == me, "%d", holder("exclusive"));
  if (family) {
    locked("own", LOCK_SH, 0);
    check(holder("own") == child, "%d", holder("own"));
    check(!kill(child, SIGKILL) && waitpid(child, 0, 0) == child);
    locked("exclusive", LOCK_SH, 0);
  }
  check(!munmap(mapped, PAGE));
  int fd = open("exclusive", O_RDWR);
  check(fd >= 0 && !flock(fd, LOCK_EX | LOCK_NB), "something else holds the lock");
  victim_pass();
}
