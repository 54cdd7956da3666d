/* A program that has cpuid fault, and catches that. It says after each turn that its handler was called. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ARCH_SET_CPUID 0x1012

static volatile int caught;

static void on_fault(int signal, siginfo_t *info, void *context) {
  (void)signal;
  (void)info;
  caught++;
  ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2; /* cpuid is two bytes long */
}

int main(void) {
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &action, NULL);
  if (syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0) != 0) {
    puts("SKIP cpuid cannot be made to fault here");
    return 0;
  }
  for (int turn = 1;; turn++) {
    unsigned a = 0, c = 0;
    __asm__ volatile("cpuid" : "+a"(a), "+c"(c) : : "ebx", "edx");
    if (caught == turn) printf(turn == 1 ? "READY\n" : "turn %d\n", turn);
    else printf("FAIL turn %d: caught %d\n", turn, caught);
    fflush(stdout);
    usleep(20000);
  }
}
