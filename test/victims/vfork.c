/*
 * A parent that waits in vfork() for a child that has its memory, and its stack, until it ends.
 *
 *     vfork [COUNT]    1; how many deep
 */
#include "victim.h"
#include <sys/wait.h>

static int depth = 1;
static pid_t pids[16];

static void verify(void) {
  check(getpid() == pids[depth] && getppid() == pids[depth - 1]);
}

/* The innermost works. The others find what it has left in the memory that is theirs as well. */
static int descend(int level) {
  volatile int left = 0;
  pid_t pid = vfork();
  check(pid >= 0);
  if (pid == 0) {
    pids[level] = getpid();
    if (level < depth) _exit(descend(level + 1));
    victim_ready();
    while (!victim_asked()) {
      verify();
      victim_nap(5);
    }
    verify();
    left = 4711;
    _exit(10 + level);
  }
  int status;
  check(level < depth || left == 4711, "%d", left);
  check(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 10 + level, "%#x", status);
  return 9 + level;
}

int main(int argc, char **argv) {
  if (argc > 1) depth = atoi(argv[1]);
  check(depth > 0 && depth < 15);
  pids[0] = getpid();
  descend(1);
  victim_pass();
}
