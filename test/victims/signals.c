/* Signals: every action as the kernel has it, the alternate stack, the mask, and what is pending, siginfo and order. */
#include "victim.h"
#include <signal.h>
#include <sys/prctl.h>
#include <sys/time.h>

/* The kernel's own struct; libc's hides flags and adds a restorer. */
typedef struct {
  uint64_t handler, flags, restorer, mask;
} Action;

static Action was[65];
static stack_t stack_was;
static uint64_t mask_was, pending_was;
static char alternate[64 * 1024];

static void handler(int signal) { (void)signal; }

static long action_of(int signal, const Action *set, Action *get) {
  return syscall(SYS_rt_sigaction, signal, set, get, 8l);
}

static bool has_action(int signal) { return signal != SIGKILL && signal != SIGSTOP; }

static void verify(void) {
  for (int signal = 1; signal <= 64; signal++) {
    if (!has_action(signal)) continue;
    Action is;
    check(!action_of(signal, 0, &is));
    check(!memcmp(&is, &was[signal], sizeof is), "signal %d: %lx %lx %lx %lx, was %lx %lx %lx %lx", signal, is.handler,
          is.flags, is.restorer, is.mask, was[signal].handler, was[signal].flags, was[signal].restorer,
          was[signal].mask);
  }
  stack_t stack;
  check(!sigaltstack(0, &stack));
  check(stack.ss_sp == stack_was.ss_sp && stack.ss_size == stack_was.ss_size && stack.ss_flags == stack_was.ss_flags);
  uint64_t mask = 0, pending = 0;
  check(!syscall(SYS_rt_sigprocmask, SIG_BLOCK, 0l, &mask, 8l) && mask == mask_was, "%lx, was %lx", mask, mask_was);
  check(!syscall(SYS_rt_sigpending, &pending, 8l) && pending == pending_was, "%lx, was %lx", pending, pending_was);
}

/* What was sent, in the order in which it is to be taken: the thread's own before the process's, low numbers first. */
typedef struct {
  siginfo_t info;
} Sent;
static Sent sent[64];
static int count;

static void queue(bool own, int signal, int code, int value) {
  siginfo_t info;
  memset(&info, 0, sizeof info);
  info.si_signo = signal;
  info.si_code = code;
  info.si_errno = value % 7;
  info.si_pid = 4711 + value;
  info.si_uid = 42;
  info.si_value.sival_ptr = (void *)known_word(99, value);
  if (own) check(!syscall(SYS_rt_tgsigqueueinfo, getpid(), getpid(), signal, &info));
  else check(!syscall(SYS_rt_sigqueueinfo, getpid(), signal, &info));
  sent[count++].info = info;
}

static void send_all(void) {
  queue(true, SIGTRAP, SI_KERNEL, 1);
  queue(true, SIGSEGV, SEGV_MAPERR, 2);
  queue(true, SIGUSR2, SI_TKILL, 3);
  for (int i = 0; i < 3; i++) queue(true, 41, SI_QUEUE, 10 + i);
  queue(true, 64, SI_MESGQ, 20);
  queue(false, SIGHUP, SI_USER, 4);
  queue(false, SIGUSR1, SI_QUEUE, 5);
  queue(false, SIGALRM, SI_KERNEL, 6);
  queue(false, SIGCHLD, CLD_EXITED, 7);
  queue(false, SIGIO, POLL_IN, 8);
  for (int i = 0; i < 20; i++) queue(false, 40, i % 2 ? SI_QUEUE : SI_ASYNCIO, 100 + i);
  queue(false, 50, SI_TIMER, 30);
}

static void take_all(void) {
  sigset_t all;
  sigfillset(&all);
  uint64_t everything = ~0ull;
  struct timespec now = {0, 0};
  for (int i = 0; i < count; i++) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    long signal = syscall(SYS_rt_sigtimedwait, &everything, &info, &now, 8l);
    const siginfo_t *want = &sent[i].info;
    check(signal == want->si_signo, "number %d: %ld instead of %d", i, signal, want->si_signo);
    check(info.si_code == want->si_code && info.si_errno == want->si_errno, "%d: code %d, was %d", i, info.si_code,
          want->si_code);
    check(info.si_pid == want->si_pid && info.si_uid == want->si_uid, "%d (signal %ld)", i, signal);
    if (want->si_code <= 0) check(info.si_value.sival_ptr == want->si_value.sival_ptr, "%d (signal %ld)", i, signal);
  }
  check(syscall(SYS_rt_sigtimedwait, &everything, (void *)0, &now, 8l) < 0 && errno == EAGAIN, "more than was sent");
}

int main(int argc, char **argv) {
  bool plain = argc > 1 && !strcmp(argv[1], "plain"); /* nothing blocked or pending: what a program usually has */
  for (int signal = 1; signal <= 64; signal++) {
    if (!has_action(signal)) continue;
    Action act = {(uintptr_t)handler, SA_RESTART, 0, 0};
    if (signal % 3 == 0) act.flags |= SA_NODEFER | SA_ONSTACK;
    if (signal % 5 == 0) act.flags |= SA_SIGINFO | (uint64_t)(uint32_t)SA_RESETHAND;
    if (signal % 4 == 0) act.handler = (uintptr_t)SIG_IGN;
    if (signal % 7 == 0) act.handler = (uintptr_t)SIG_DFL;
    if (signal == SIGTRAP) act.handler = (uintptr_t)SIG_IGN;
    if (signal == SIGCHLD) act.flags |= SA_NOCLDSTOP | SA_NOCLDWAIT;
    if (act.handler > 1) act.flags |= 0x04000000, act.restorer = (uintptr_t)handler + signal;
    act.mask = known_word(7, signal);
    check(!action_of(signal, &act, 0), "%d", signal);
    check(!action_of(signal, 0, &was[signal]));
  }
  stack_t stack = {alternate, (int)0x80000000 /* SS_AUTODISARM */, sizeof alternate};
  check(!sigaltstack(&stack, 0) && !sigaltstack(0, &stack_was));
  if (!plain) {
    uint64_t everything = ~0ull;
    check(!syscall(SYS_rt_sigprocmask, SIG_SETMASK, &everything, 0l, 8l));
    send_all();
  }
  check(!syscall(SYS_rt_sigprocmask, SIG_BLOCK, 0l, &mask_was, 8l));
  check(!syscall(SYS_rt_sigpending, &pending_was, 8l));
  victim_ready();
  victim_watch(verify);
  if (!plain) take_all();
  victim_pass();
}
