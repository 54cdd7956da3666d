/* A program that catches its own system calls (PR_SET_SYSCALL_USER_DISPATCH), as Wine does. It computes with its
   system calls forbidden, and says how often one of them was caught. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#endif

static volatile char forbidden;
static volatile int caught;

static void on_call(int signal, siginfo_t *info, void *context) {
  (void)signal;
  (void)info;
  forbidden = 0;
  caught++;
  ((ucontext_t *)context)->uc_mcontext.gregs[REG_RAX] = 42;
}

int main(void) {
  struct sigaction action = {.sa_sigaction = on_call, .sa_flags = SA_SIGINFO};
  sigaction(SIGSYS, &action, NULL);
  if (prctl(PR_SET_SYSCALL_USER_DISPATCH, 1, 0, 0, &forbidden) != 0) {
    puts("SKIP the kernel cannot dispatch system calls");
    return 0;
  }
  for (int turn = 1;; turn++) {
    forbidden = 1;
    for (volatile long i = 0; i < 20000000; i++) {
    }
    long answer = syscall(SYS_getppid);
    forbidden = 0;
    if (answer == 42 && caught == turn) printf(turn == 1 ? "READY\n" : "turn %d\n", turn);
    else printf("FAIL turn %d: caught %d, answer %ld\n", turn, caught, answer);
    fflush(stdout);
  }
}
