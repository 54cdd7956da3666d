/*
 * A family no planner can make again: a task shares the memory of its grandparent, and its parent, from which it had
 * it, has executed another program since. Nobody below the parent has that memory to pass it on.
 */
#include "victim.h"
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>

static char stacks[2][65536] __attribute__((aligned(16)));

static int grandchild(void *unused) {
  (void)unused;
  for (;;) pause();
  return 0;
}

static int child(void *unused) {
  (void)unused;
  if (clone(grandchild, stacks[1] + sizeof stacks[1], CLONE_VM | SIGCHLD, NULL) < 0) _exit(1);
  execl("/bin/sleep", "sleep", "600", NULL);
  _exit(1);
}

int main(void) {
  check(clone(child, stacks[0] + sizeof stacks[0], CLONE_VM | SIGCHLD, NULL) > 0);
  victim_nap(300);
  victim_ready();
  while (!victim_asked()) victim_nap(5);
  victim_pass();
}
