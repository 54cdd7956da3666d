/*
 * Processes in network namespaces of their own: argv[1] of them, each in another one; the first is the root of the
 * tree. Without more arguments they wait; the test fills the namespaces. What a process can see of its namespace
 * itself it checks: that it is in none that another one is in, and that it sees the same devices all the time (by
 * index and name) once the first has been asked to look ("look" as a file in the working directory).
 */
#include "victim.h"
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static char seen[4096];
static bool looked;
static ino_t others;

static ino_t own(void) {
  struct stat status;
  check(!stat("/proc/self/ns/net", &status));
  return status.st_ino;
}

static void list(char *into, size_t size) {
  size_t used = 0;
  into[0] = 0;
  for (int index = 1; index < 40; index++) {
    char name[IFNAMSIZ];
    if (if_indextoname(index, name)) used += snprintf(into + used, size - used, "%d %s\n", index, name);
  }
}

static void verify(void) {
  char now[sizeof seen];
  check(own() != others, "back in the namespace of the machine");
  if (!looked) {
    if (access("look", F_OK)) return;
    list(seen, sizeof seen);
    looked = true;
  }
  list(now, sizeof now);
  check(!strcmp(now, seen), "devices were\n%sand are\n%s", seen, now);
}

int main(int argc, char **argv) {
  int count = argc > 1 ? atoi(argv[1]) : 1;
  others = own();
  if (unshare(CLONE_NEWNET)) skip("no right to make a network namespace");
  for (int i = 1; i < count; i++) {
    int ready[2];
    char byte;
    check(!pipe2(ready, O_CLOEXEC));
    pid_t child = fork();
    check(child >= 0);
    if (child == 0) {
      check(!unshare(CLONE_NEWNET) && !prctl(PR_SET_PDEATHSIG, SIGKILL));
      check(write(ready[1], "x", 1) == 1);
      close(ready[0]);
      close(ready[1]);
      for (;;) pause();
    }
    close(ready[1]);
    check(read(ready[0], &byte, 1) == 1);
    close(ready[0]);
  }
  victim_ready();
  victim_loop(verify);
}
