/* A child that has memory and descriptors in common with its parent; its PID is told. It ends with its parent. */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

static int child(void *nothing) {
  (void)nothing;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  setsid();
  for (;;) pause();
  return 0;
}

int main(void) {
  char *stack = malloc(65536);
  int pid = clone(child, stack + 65536, CLONE_VM | CLONE_FILES | SIGCHLD, NULL);
  printf("child %d\nREADY\n", pid);
  fflush(stdout);
  for (;;) pause();
}
