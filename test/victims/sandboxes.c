/*
 * Many children, each of them the init of a PID namespace in a user namespace of its own, and not one that has ended.
 *
 *     sandboxes N
 */
#include "victim.h"
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static void verify(void) {
  siginfo_t info = {0};
  check(!waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) && info.si_pid == 0, "child %d has ended", info.si_pid);
}

int main(int argc, char **argv) {
  int n = argc > 1 ? atoi(argv[1]) : 1;
  pid_t children[n];
  for (int i = 0; i < n; i++) {
    children[i] = syscall(SYS_clone, CLONE_NEWUSER | CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);
    check(children[i] >= 0);
    if (children[i]) continue;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) pause();
  }
  victim_ready();
  victim_watch(verify);
  for (int i = 0; i < n; i++) check(!kill(children[i], SIGKILL) && waitpid(children[i], 0, 0) == children[i]);
  victim_pass();
}
