/*
 * Threads, each with registers, words, signals, credentials and a place in the scheduler of its own, asleep in calls of
 * every kind, at work, or waiting for another one's end.
 *
 *     threads [COUNT [alike] [modest]]    50; `alike`: all with the credentials of the process; `modest`: only
 *                                        what CRIU carries too: not affinity or I/O priority, and a timed call may end
 *                                        early with EINTR
 */
#include "victim.h"
#include <limits.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <linux/securebits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/rseq.h>
#include <xmmintrin.h>

/* What a thread does most of the time. Each joiner waits for the sleeper after it. */
enum { GATE, FUTEX, NANOSLEEP, ABSOLUTE, POLL, TIMED, SUSPENDED, WORK, JOINER, SLEEPER, KINDS };

typedef struct {
  uint8_t vector[16][32];
  uint64_t general[6]; /* rbx, rbp, r12 to r15 */
} Registers;

/* All that the kernel knows of a thread alone, as it tells it. */
typedef struct {
  void *robust, *clear;
  size_t robust_length;
  stack_t stack;
  uint64_t mask, pending;
  char name[16];
  int nice, policy, priority, io;
  cpu_set_t cpus;
  uint32_t user[3], group[3];
  int groups;
  gid_t group_list[8];
  struct __user_cap_data_struct caps[2];
  int secure, no_new, bounding, ambient;
} Facts;

typedef struct {
  int number, kind;
  pid_t tid;
  pthread_t thread;
  _Atomic uint64_t beats;
  _Atomic int32_t gate;
  pthread_mutex_t mutex;
  Registers registers;
  Facts facts;
  uint64_t seen, since; /* by the first thread */
} Thread;

static int count = 50;
static bool alike, modest;
static Thread *threads;
static _Atomic int32_t ready, stop, asleep;
static _Thread_local int own_number = -1;
static _Thread_local volatile int suspensions;
static const int TICK = 36, KEPT = 37; /* real-time signals */

/*
 * call[0](call[1], …) with all registers that a call preserves as in `in`, and what they are afterwards to `out`. No
 * call if call[0] is -1, but a while of computing.
 */
#define HELD(name, move, kind)                                                                             \
  long name(const long *call, const Registers *in, Registers *out);                                        \
  __asm__(".globl " #name "\n" #name ":\n"                                                                 \
          "push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n push %rdx\n"            \
          ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n" #move " \\n*32(%rsi), %" #kind "\\n\n .endr\n"  \
          "mov 512(%rsi), %rbx\n mov 520(%rsi), %rbp\n mov 528(%rsi), %r12\n"                              \
          "mov 536(%rsi), %r13\n mov 544(%rsi), %r14\n mov 552(%rsi), %r15\n"                              \
          "mov %rdi, %rcx\n mov (%rcx), %rax\n mov 8(%rcx), %rdi\n mov 16(%rcx), %rsi\n"                   \
          "mov 24(%rcx), %rdx\n mov 32(%rcx), %r10\n mov 40(%rcx), %r8\n mov 48(%rcx), %r9\n"              \
          "cmp $-1, %rax\n je 1f\n syscall\n jmp 2f\n"                                                     \
          "1: dec %rdi\n jnz 1b\n xor %eax, %eax\n"                                                        \
          "2: mov (%rsp), %rdx\n"                                                                          \
          ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n" #move " %" #kind "\\n, \\n*32(%rdx)\n .endr\n" \
          "mov %rbx, 512(%rdx)\n mov %rbp, 520(%rdx)\n mov %r12, 528(%rdx)\n"                              \
          "mov %r13, 536(%rdx)\n mov %r14, 544(%rdx)\n mov %r15, 552(%rdx)\n"                              \
          "pop %rdx\n pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret\n")
HELD(held_wide, vmovups, ymm);
HELD(held_narrow, movups, xmm);

/* A call with registers of this thread's own in use; answers what the kernel does. */
static long held(Thread *t, long number, long a, long b, long c, long d) {
  const long call[7] = {number, a, b, c, d, 0, 0};
  static _Thread_local Registers after;
  bool wide = __builtin_cpu_supports("avx");
  memset(&after, 0, sizeof after);
  long result = (wide ? held_wide : held_narrow)(call, &t->registers, &after);
  for (int i = 0; i < 16; i++)
    check(!memcmp(after.vector[i], t->registers.vector[i], wide ? 32 : 16), "vector register %d of thread %d", i,
          t->number);
  check(!memcmp(after.general, t->registers.general, sizeof after.general), "general registers of thread %d", t->number);
  return result;
}

static void on_suspended(int signal) {
  (void)signal;
  stack_t stack;
  char here;
  sigaltstack(0, &stack);
  check(stack.ss_flags & SS_ONSTACK && &here >= (char *)stack.ss_sp && &here < (char *)stack.ss_sp + stack.ss_size,
        "not on its own stack");
  suspensions++;
}

/* ---- what is each one's own ---- */

static void read_facts(Facts *f) {
  memset(f, 0, sizeof *f);
  check(!syscall(SYS_get_robust_list, 0, &f->robust, &f->robust_length) && !prctl(PR_GET_TID_ADDRESS, &f->clear));
  check(!sigaltstack(0, &f->stack));
  check(!syscall(SYS_rt_sigprocmask, SIG_BLOCK, 0l, &f->mask, 8l) && !syscall(SYS_rt_sigpending, &f->pending, 8l));
  f->pending &= ~(1ull << (SIGUSR1 - 1) | 1ull << (TICK - 1)); /* these come and go */
  check(!prctl(PR_GET_NAME, f->name));
  f->nice = getpriority(PRIO_PROCESS, 0);
  f->policy = sched_getscheduler(0);
  struct sched_param param;
  check(!sched_getparam(0, &param) && !sched_getaffinity(0, sizeof f->cpus, &f->cpus));
  f->priority = param.sched_priority;
  f->io = syscall(SYS_ioprio_get, 1, 0);
  check(!syscall(SYS_getresuid, &f->user[0], &f->user[1], &f->user[2]));
  check(!syscall(SYS_getresgid, &f->group[0], &f->group[1], &f->group[2]));
  f->groups = syscall(SYS_getgroups, 8, f->group_list);
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  check(!syscall(SYS_capget, &header, f->caps));
  f->secure = prctl(PR_GET_SECUREBITS);
  f->no_new = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
  f->bounding = prctl(PR_CAPBSET_READ, CAP_SYS_PACCT);
  f->ambient = prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_CHOWN, 0, 0);
}

static void same_facts(const Thread *t) {
  static _Thread_local Facts is;
  const Facts *was = &t->facts;
  read_facts(&is);
  if (!memcmp(was, &is, sizeof is)) return;
#define same(field, format) \
  check(!memcmp(&was->field, &is.field, sizeof is.field), "thread %d: " format ", was " format, t->number, is.field, was->field)
  same(robust, "%p");
  same(clear, "%p");
  same(stack.ss_sp, "%p");
  same(stack.ss_size, "%zu");
  same(stack.ss_flags, "%#x");
  same(mask, "%#lx");
  same(pending, "%#lx");
  same(name, "%s");
  same(nice, "%d");
  same(policy, "%d");
  same(priority, "%d");
  same(io, "%#x");
  same(user[0], "%u");
  same(user[1], "%u");
  same(user[2], "%u");
  same(group[0], "%u");
  same(group[1], "%u");
  same(group[2], "%u");
  same(groups, "%d");
  same(caps[0].effective, "%#x");
  same(caps[0].permitted, "%#x");
  same(caps[0].inheritable, "%#x");
  same(secure, "%#x");
  same(no_new, "%d");
  same(bounding, "%d");
  same(ambient, "%d");
  fail("thread %d: affinity or groups", t->number);
}

static void differ_in_credentials(int i) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct caps[2];
  check(!syscall(SYS_capget, &header, caps));
  switch (i % 6) {
    case 1: /* another user */
      check(!syscall(SYS_setresgid, 2000 + i, 2001 + i, 2002 + i) && !syscall(SYS_setresuid, 1000 + i, 1001 + i, 1002 + i));
      break;
    case 2: /* fewer capabilities */
      caps[0].effective &= ~(1 << CAP_SYS_BOOT);
      caps[0].permitted &= ~(1 << CAP_SYS_MODULE);
      caps[0].effective &= caps[0].permitted;
      caps[0].inheritable = 1 << CAP_CHOWN;
      check(!prctl(PR_CAPBSET_DROP, CAP_SYS_PACCT) && !syscall(SYS_capset, &header, caps));
      check(!prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0));
      break;
    case 3: { /* other groups */
      gid_t groups[3] = {i, 500, 501};
      check(!syscall(SYS_setgroups, 3, groups) && !syscall(SYS_setresgid, 0, 7000 + i, 0));
      break;
    }
    case 4: /* another user, with capabilities */
      check(!prctl(PR_SET_SECUREBITS, SECBIT_KEEP_CAPS | SECBIT_NO_SETUID_FIXUP));
      check(!syscall(SYS_setresuid, -1, 1000 + i, -1));
      break;
    case 5: check(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)); break;
  }
}

static void set_scheduling(int i) {
  struct sched_param param = {i % 9 == 4 ? 1 + i % 3 : 0};
  if (i % 9 == 4) check(!sched_setscheduler(0, SCHED_RR, &param));
  if (i % 9 == 5) check(!sched_setscheduler(0, SCHED_BATCH, &param));
  if (i % 9 == 6) check(!sched_setscheduler(0, SCHED_IDLE, &param));
  if (i % 9 == 7) check(!sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &(struct sched_param){1}));
  if (i % 9 < 4) check(!setpriority(PRIO_PROCESS, 0, i % 7 - 2));
  if (modest) return;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(i / 3 % 2, &one);
  if (i % 3 == 0) sched_setaffinity(0, sizeof one, &one); /* there may be but one */
  check(!syscall(SYS_ioprio_set, 1, 0, (i % 2 ? 2 : 3) << 13 | (i % 2 ? i % 8 : 0)));
}

static void set_signals(Thread *t) {
  stack_t stack = {.ss_size = 64 << 10, .ss_flags = t->number % 4 == 1 ? (int)(1u << 31) /* SS_AUTODISARM */ : 0};
  if (t->kind == SUSPENDED) stack.ss_flags = 0;
  stack.ss_sp = mmap(0, stack.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  check(stack.ss_sp != MAP_FAILED && !sigaltstack(&stack, 0));
  uint64_t mask = known_word(31, t->number) | 1ull << (TICK - 1) | 1ull << (KEPT - 1) | 1ull << (SIGUSR1 - 1);
  mask &= ~(1ull << (SIGSEGV - 1) | 1ull << 31 | 1ull << 32);
  check(!syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, 0l, 8l));
  siginfo_t info = {.si_signo = KEPT, .si_code = SI_QUEUE, .si_value.sival_int = t->number};
  for (int k = 0; k < 2; k++) check(!syscall(SYS_rt_tgsigqueueinfo, getpid(), t->tid, KEPT, &info));
}

static void set_timer(void) {
  struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = TICK, .sigev_value.sival_int = own_number};
  event._sigev_un._tid = syscall(SYS_gettid);
  timer_t timer;
  struct itimerspec spec = {{0, 20000000 + count * 100000l}, {0, 20000000}};
  check(!timer_create(CLOCK_MONOTONIC, &event, &timer) && !timer_settime(timer, 0, &spec, 0));
}

/* ---- what they do ---- */

static void wait_kind(Thread *t) {
  long ms = 15 + count / 4 + t->number % 10, r;
  struct timespec limit = {ms / 1000, ms % 1000 * 1000000};
  int64_t began = now_ms(CLOCK_MONOTONIC);
  static _Atomic int32_t never;
  uint64_t set = 1ull << (TICK - 1);
  siginfo_t info;
  struct pollfd none = {-1, 0, 0};
  switch (t->kind) {
    case GATE: {
      int32_t value = t->gate;
      r = held(t, SYS_futex, (long)&t->gate, FUTEX_WAIT_PRIVATE, value, 0);
      check(r == 0 || r == -EAGAIN, "%ld", r);
      return;
    }
    case FUTEX:
      r = held(t, SYS_futex, (long)&never, FUTEX_WAIT_PRIVATE, 0, (long)&limit);
      check(r == -ETIMEDOUT || (r == -EINTR && modest), "%ld", r);
      break;
    case NANOSLEEP:
      r = held(t, SYS_nanosleep, (long)&limit, 0, 0, 0);
      check(r == 0 || (r == -EINTR && modest), "%ld", r);
      break;
    case ABSOLUTE: {
      struct timespec until;
      clock_gettime(CLOCK_MONOTONIC, &until);
      until.tv_nsec += ms * 1000000;
      until.tv_sec += until.tv_nsec / 1000000000;
      until.tv_nsec %= 1000000000;
      r = held(t, SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, (long)&until, 0);
      check(r == 0, "%ld", r);
      break;
    }
    case POLL:
      r = held(t, SYS_poll, (long)&none, 1, ms, 0);
      check(r == 0 || (r == -EINTR && modest), "%ld", r);
      break;
    case TIMED: /* the kernel ends this one at any stop */
      while ((r = held(t, SYS_rt_sigtimedwait, (long)&set, (long)&info, 0, 8)) == -EINTR) {
      }
      check(r == TICK && info.si_code == SI_TIMER && info.si_value.sival_int == t->number, "%ld %d", r, info.si_code);
      return;
    case SUSPENDED: {
      int before = suspensions;
      uint64_t all_but = ~(1ull << (SIGUSR1 - 1));
      r = held(t, SYS_rt_sigsuspend, (long)&all_but, 8, 0, 0);
      check(r == -EINTR && suspensions == before + 1, "%ld %d", r, suspensions - before);
      return;
    }
    case WORK:
      held(t, -1, 400000, 0, 0, 0);
      victim_nap(5 + count / 20);
      return;
  }
  if (r == -EINTR) return;
  check(now_ms(CLOCK_MONOTONIC) - began >= ms - 1, "kind %d ended early", t->kind);
}

static void verify_thread(Thread *t) {
  check(own_number == t->number && syscall(SYS_gettid) == t->tid, "thread %d", t->number);
  check((_mm_getcsr() & 0x6000) == (unsigned)(t->number % 4) << 13, "%#x", _mm_getcsr());
  same_facts(t);
}

/* The kernel keeps the area of restartable sequences up to date. */
static void verify_rseq(void) {
  volatile struct rseq *area = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
  cpu_set_t one;
  for (int cpu = 0; cpu < 2 && __rseq_size; cpu++) {
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    if (!sched_setaffinity(0, sizeof one, &one)) check(area->cpu_id == (unsigned)cpu, "%u", area->cpu_id);
  }
}

static void take_kept(Thread *t) {
  uint64_t set = 1ull << (KEPT - 1);
  siginfo_t info;
  struct timespec now = {0, 0};
  for (int k = 0; k < 2; k++) {
    check(syscall(SYS_rt_sigtimedwait, &set, &info, &now, 8l) == KEPT, "signal %d of thread %d", k, t->number);
    check(info.si_code == SI_QUEUE && info.si_value.sival_int == t->number, "%d", info.si_value.sival_int);
  }
  check(syscall(SYS_rt_sigtimedwait, &set, &info, &now, 8l) < 0);
}

static void wait_for_another(Thread *t) {
  atomic_fetch_add(&asleep, 1);
  check(!pthread_join(t[1].thread, 0));
  /* It ended with the mutex locked: the kernel has walked its list. */
  check(pthread_mutex_lock(&t[1].mutex) == EOWNERDEAD);
}

static void sleep_till_the_end(Thread *t) {
  check(!pthread_mutex_lock(&t->mutex));
  atomic_fetch_add(&asleep, 1);
  while (!stop) {
    long r = held(t, SYS_futex, (long)&stop, FUTEX_WAIT_PRIVATE, 0, 0);
    check(r == 0 || r == -EAGAIN, "%ld", r);
  }
}

static void *run(void *argument) {
  Thread *t = argument;
  own_number = t->number;
  t->tid = syscall(SYS_gettid);
  char name[16];
  snprintf(name, sizeof name, "thread %d", t->number);
  prctl(PR_SET_NAME, name);
  _mm_setcsr((_mm_getcsr() & ~0x6000) | (unsigned)(t->number % 4) << 13);
  fill_known(&t->registers, sizeof t->registers, t->number);
  set_scheduling(t->number);
  set_signals(t);
  if (t->kind == TIMED) set_timer();
  if (!alike) differ_in_credentials(t->number);
  read_facts(&t->facts);
  verify_thread(t);
  atomic_fetch_add(&ready, 1);
  if (t->kind == JOINER) wait_for_another(t);
  else if (t->kind == SLEEPER) sleep_till_the_end(t);
  else
    while (!stop) {
      wait_kind(t);
      verify_thread(t);
      t->beats++;
    }
  verify_thread(t);
  take_kept(t);
  if (t->facts.caps[0].effective >> CAP_SYS_NICE & 1) verify_rseq();
  return 0;
}

static void wake(Thread *t) {
  if (t->kind == GATE) {
    t->gate++;
    syscall(SYS_futex, &t->gate, FUTEX_WAKE_PRIVATE, 1, 0l, 0l, 0l);
  }
  if (t->kind == SUSPENDED) syscall(SYS_tgkill, getpid(), t->tid, SIGUSR1);
}

/* By the first thread: all go on. */
static void verify(void) {
  static uint64_t turn;
  turn++;
  for (Thread *t = threads; t < threads + count; t++) {
    if (t->kind >= JOINER) continue;
    wake(t);
    if (t->beats != t->seen) {
      t->seen = t->beats;
      t->since = turn;
    }
    check(turn - t->since < 2000, "thread %d (kind %d) does not go on", t->number, t->kind);
  }
  victim_nap(count / 8);
}

static void end_all(void) {
  stop = 1;
  syscall(SYS_futex, &stop, FUTEX_WAKE_PRIVATE, INT_MAX, 0l, 0l, 0l);
  for (Thread *t = threads; t < threads + count; t++) {
    if (t->kind == SLEEPER) continue; /* another one waits for it */
    for (int turn = 0; t->kind != JOINER && pthread_tryjoin_np(t->thread, 0); turn++) {
      check(turn < 5000, "thread %d (kind %d) does not end", t->number, t->kind);
      wake(t);
      victim_nap(1);
    }
    if (t->kind == JOINER) check(!pthread_join(t->thread, 0));
  }
}

int main(int argc, char **argv) {
  if (argc > 1) count = atoi(argv[1]);
  for (int i = 2; i < argc; i++) {
    alike |= !strcmp(argv[i], "alike");
    modest |= !strcmp(argv[i], "modest");
  }
  check(count > 0 && count <= 20000);
  threads = calloc(count, sizeof *threads);
  check(threads);
  struct sigaction action = {.sa_handler = on_suspended, .sa_flags = SA_ONSTACK};
  check(!sigaction(SIGUSR1, &action, 0));
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 64 << 10);
  pthread_mutexattr_t robust;
  pthread_mutexattr_init(&robust);
  pthread_mutexattr_setrobust(&robust, PTHREAD_MUTEX_ROBUST);
  int last = count - (count % KINDS == SLEEPER ? 1 : 0); /* no joiner without a sleeper */
  int waiting = 0;
  for (int i = count - 1; i >= 0; i--) {
    Thread *t = &threads[i];
    t->number = i;
    t->kind = i < last ? i % KINDS : WORK;
    waiting += t->kind >= JOINER;
    pthread_mutex_init(&t->mutex, &robust);
    check(!pthread_create(&t->thread, &attributes, run, t), "thread %d", i);
  }
  while (ready < count || asleep < waiting) victim_nap(1);
  check(!prctl(PR_SET_DUMPABLE, 1)); /* changes of users have taken it away */
  victim_ready();
  victim_watch(verify);
  end_all();
  victim_pass();
}
