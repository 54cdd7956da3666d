/*
 * Threads to be stopped at every bad moment there is, each sure of what it should see: asleep in calls of all kinds, in
 * the middle of arithmetic with every register in use, with signals blocked and pending, on another stack.
 *
 * The file "turns" holds a count of 8 bytes for each, so that others see that it goes on.
 *
 *     crowd COUNT [fifo] [shared]
 *
 * fifo: all share a processor, and some come before the rest. shared: there is a process more with the same
 * memory, but signals of its own; its PID is told.
 */
#include "../victims/victim.h"
#include <immintrin.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>

#define MOST 2048

typedef struct Mate {
  int index, tid, pipe[2], epoll;
  const char *name;
  void (*turn)(struct Mate *);
  void (*poke)(struct Mate *);
  volatile int word, told;
  int sent, seen;
  sigset_t mask;
  stack_t stack;
  double sum;
} Mate;

static Mate mates[MOST];
static int count;
static uint64_t *turns;
static __thread Mate *me;
static bool fifo;

#define must(condition)                                                                             \
  do {                                                                                              \
    if (!(condition)) fail("%s (%d): %s, errno %d, line %d", m->name, m->index, #condition, errno, __LINE__); \
  } while (0)

static int64_t now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000ll + t.tv_nsec / 1000;
}

static void on_signal(int signal) {
  (void)signal;
  me->told++;
}

static int futex(volatile int *word, int op, int value, const struct timespec *limit) {
  return syscall(SYS_futex, word, op, value, limit, 0, 0);
}

/* ---- in the processor ---- */

/* Every register and flag, compared over and over. Answers 0, or which check failed. */
int hold_registers(long rounds);
__asm__(
    "  .text\n"
    "  .type hold_registers, @function\n"
    "hold_registers:\n"
    "  push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n push %rdi\n"
    "  mov known+0(%rip), %rax\n  mov known+8(%rip), %rbx\n  mov known+16(%rip), %rcx\n mov known+24(%rip), %rdx\n"
    "  mov known+32(%rip), %rsi\n mov known+40(%rip), %rdi\n mov known+48(%rip), %rbp\n mov known+56(%rip), %r8\n"
    "  mov known+64(%rip), %r9\n  mov known+72(%rip), %r10\n mov known+80(%rip), %r11\n mov known+88(%rip), %r12\n"
    "  mov known+96(%rip), %r13\n mov known+104(%rip), %r14\n mov known+112(%rip), %r15\n"
    "1: cmp %rcx, %rcx\n pause\n nop\n pause\n jne 9f\n jc 9f\n jo 9f\n"
    "  cmp %rdx, %rcx\n pause\n nop\n pause\n jno 9f\n je 9f\n js 9f\n jc 9f\n" /* lowest number - 1 */
    "  cmp %rcx, %rdx\n pause\n nop\n pause\n jno 9f\n jns 9f\n jnc 9f\n"       /* 1 - lowest number */
    "  std\n cmp %rbx, %rbx\n pause\n pushf\n cld\n testl $0x400, (%rsp)\n lea 8(%rsp), %rsp\n jz 9f\n"
    "  cmp known+0(%rip), %rax\n jne 9f\n  cmp known+8(%rip), %rbx\n jne 9f\n  cmp known+16(%rip), %rcx\n jne 9f\n"
    "  cmp known+24(%rip), %rdx\n jne 9f\n cmp known+32(%rip), %rsi\n jne 9f\n cmp known+40(%rip), %rdi\n jne 9f\n"
    "  cmp known+48(%rip), %rbp\n jne 9f\n cmp known+56(%rip), %r8\n jne 9f\n  cmp known+64(%rip), %r9\n jne 9f\n"
    "  cmp known+72(%rip), %r10\n jne 9f\n cmp known+80(%rip), %r11\n jne 9f\n cmp known+88(%rip), %r12\n jne 9f\n"
    "  cmp known+96(%rip), %r13\n jne 9f\n cmp known+104(%rip), %r14\n jne 9f\n cmp known+112(%rip), %r15\n jne 9f\n"
    "  decq (%rsp)\n jnz 1b\n"
    "  xor %eax, %eax\n jmp 8f\n"
    "9: mov $1, %eax\n"
    "8: cld\n pop %rdi\n pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret\n"
    "  .size hold_registers, .-hold_registers\n");
__attribute__((used)) uint64_t known[15];

static void turn_registers(Mate *m) { must(hold_registers(1500) == 0); }

/* Leibniz' series, four at a time, in as many registers as there are. */
__attribute__((target("avx"))) static double series(void) {
  __m256d sum[8], odd = _mm256_set_pd(7, 5, 3, 1), sign = _mm256_set_pd(-4, 4, -4, 4), eight = _mm256_set1_pd(8);
  for (int k = 0; k < 8; k++) sum[k] = _mm256_set1_pd(k);
  for (int i = 0; i < 3000; i++) {
    for (int k = 0; k < 8; k++) sum[k] = _mm256_add_pd(sum[k], _mm256_div_pd(sign, odd));
    odd = _mm256_add_pd(odd, eight);
  }
  double all[4], total = 0;
  for (int k = 0; k < 8; k++) {
    _mm256_storeu_pd(all, sum[k]);
    total += all[0] + all[1] * 3 + all[2] * 5 + all[3] * 7;
  }
  return total;
}

static void turn_vectors(Mate *m) {
  double now = __builtin_cpu_supports("avx") ? series() : 1;
  if (m->sum == 0) m->sum = now;
  must(m->sum == now);
}

/* ---- asleep, with a limit ---- */

#define SHORT 3000000l
static const struct timespec a_while = {0, SHORT};
#define lasted(began) (now_us() - (began) >= SHORT / 1000)

static void turn_nanosleep(Mate *m) {
  int64_t began = now_us();
  must(nanosleep(&a_while, 0) == 0);
  must(lasted(began));
}

static void turn_clock(Mate *m) {
  int64_t began = now_us();
  struct timespec rest = {7, 7};
  must(clock_nanosleep(CLOCK_MONOTONIC, 0, &a_while, &rest) == 0);
  must(lasted(began));
}

static void turn_futex_limited(Mate *m) {
  int64_t began = now_us();
  must(futex(&m->word, FUTEX_WAIT_PRIVATE, 0, &a_while) == -1 && errno == ETIMEDOUT);
  must(lasted(began));
}

static void turn_poll(Mate *m) {
  int64_t began = now_us();
  struct pollfd fd = {m->pipe[0], POLLIN, 0};
  must(poll(&fd, 1, SHORT / 1000000) == 0);
  must(lasted(began));
}

static void turn_epoll(Mate *m) {
  struct epoll_event event;
  int got = epoll_wait(m->epoll, &event, 1, SHORT / 1000000);
  must(got == 0 || (got == -1 && errno == EINTR)); /* it is never restarted (signal(7)) */
}

/* ---- asleep until told ---- */

static void turn_futex(Mate *m) {
  int was = m->word;
  while (m->word == was) must(futex(&m->word, FUTEX_WAIT_PRIVATE, was, 0) == 0 || errno == EAGAIN);
}
static void poke_futex(Mate *m) {
  m->word++;
  futex(&m->word, FUTEX_WAKE_PRIVATE, 1, 0);
}

static void turn_read(Mate *m) {
  unsigned char byte;
  must(read(m->pipe[0], &byte, 1) == 1);
  must(byte == (unsigned char)m->seen++);
}
static void poke_read(Mate *m) {
  unsigned char byte = m->sent;
  if (m->sent - m->seen < 100 && write(m->pipe[1], &byte, 1) == 1) m->sent++;
}

static void poke_usr1(Mate *m) { syscall(SYS_tgkill, getpid(), m->tid, SIGUSR1); }

/* SIGUSR1 is blocked but in the call. */
static void turn_sigsuspend(Mate *m) {
  sigset_t in = m->mask;
  sigdelset(&in, SIGUSR1);
  int told = m->told;
  must(sigsuspend(&in) == -1 && errno == EINTR);
  must(m->told > told);
}

static void turn_ppoll(Mate *m) {
  sigset_t in = m->mask;
  sigdelset(&in, SIGUSR1);
  int told = m->told;
  struct timespec long_time = {60, 0};
  must(ppoll(0, 0, &long_time, &in) == -1 && errno == EINTR);
  must(m->told > told);
}


/* A queue of which nothing may be lost. The call is interrupted by a stop: allowed (signal(7)). */
static void turn_sigwait(Mate *m) {
  sigset_t one;
  siginfo_t info;
  sigemptyset(&one);
  sigaddset(&one, SIGRTMIN + 1);
  int got = sigwaitinfo(&one, &info);
  must(got == SIGRTMIN + 1 || (got == -1 && errno == EINTR));
  if (got > 0) must(info.si_value.sival_int == m->seen++);
}
static void poke_sigwait(Mate *m) {
  siginfo_t info = {.si_signo = SIGRTMIN + 1, .si_code = SI_QUEUE, .si_pid = getpid(), .si_uid = getuid()};
  info.si_value.sival_int = m->sent;
  if (m->sent - m->seen < 50 && syscall(SYS_rt_tgsigqueueinfo, getpid(), m->tid, SIGRTMIN + 1, &info) == 0) m->sent++;
}

/* ---- signals ---- */

/* One is pending all the time, and the signal that would be the first choice for a bell, too. */
static void turn_pending(Mate *m) {
  sigset_t pending, one;
  siginfo_t info = {.si_signo = SIGRTMIN + 2, .si_code = SI_QUEUE, .si_value.sival_int = ++m->sent};
  /* The limit on queued signals is one for all processes of the user. */
  while (syscall(SYS_rt_tgsigqueueinfo, getpid(), m->tid, SIGRTMIN + 2, &info) == -1) {
    must(errno == EAGAIN);
    victim_nap(1);
  }
  if (m->sent == 1) must(syscall(SYS_tgkill, getpid(), m->tid, SIGSTKFLT) == 0);
  hold_registers(1000);
  must(sigpending(&pending) == 0 && sigismember(&pending, SIGRTMIN + 2) && sigismember(&pending, SIGSTKFLT));
  sigemptyset(&one);
  sigaddset(&one, SIGRTMIN + 2);
  must(sigtimedwait(&one, &info, &a_while) == SIGRTMIN + 2 && info.si_value.sival_int == m->sent);
}

static void on_other_stack(int signal) {
  Mate *m = me;
  stack_t now;
  (void)signal;
  must(sigaltstack(0, &now) == 0 && (now.ss_flags & SS_ONSTACK) && now.ss_sp == m->stack.ss_sp);
  char *here = __builtin_frame_address(0);
  must(here > (char *)m->stack.ss_sp && here < (char *)m->stack.ss_sp + m->stack.ss_size);
  must(hold_registers(2000) == 0);
  m->told++;
}

static void turn_stack(Mate *m) {
  int told = m->told;
  must(syscall(SYS_tgkill, getpid(), m->tid, SIGUSR2) == 0 && m->told == told + 1);
}

/* A timer rings every millisecond; the read it interrupts goes on (SA_RESTART). */
static void turn_timer(Mate *m) {
  unsigned char byte;
  must(read(m->pipe[0], &byte, 1) == 1);
  must(byte == (unsigned char)m->seen++);
  must(m->seen < 1000 || m->told > 100);
  must(hold_registers(100) == 0);
}

/* ---- together ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long together, apart;

static void turn_mutex(Mate *m) {
  for (int i = 0; i < 50; i++) {
    must(pthread_mutex_lock(&lock) == 0);
    long was = together;
    hold_registers(20);
    together = was + 1;
    must(pthread_mutex_unlock(&lock) == 0);
    __atomic_fetch_add(&apart, 1, __ATOMIC_SEQ_CST);
  }
}

static void turn_teller(Mate *m) {
  (void)m;
  for (int i = 0; i < count; i++)
    if (mates[i].poke) mates[i].poke(&mates[i]);
  victim_nap(2);
}

static const struct {
  const char *name;
  void (*turn)(Mate *);
  void (*poke)(Mate *);
} ROLES[] = {
    {"teller", turn_teller, 0},
    {"registers", turn_registers, 0},
    {"vectors", turn_vectors, 0},
    {"nanosleep", turn_nanosleep, 0},
    {"clock_nanosleep", turn_clock, 0},
    {"futex with a limit", turn_futex_limited, 0},
    {"poll", turn_poll, 0},
    {"epoll", turn_epoll, 0},
    {"futex", turn_futex, poke_futex},
    {"read", turn_read, poke_read},
    {"sigsuspend", turn_sigsuspend, poke_usr1},
    {"ppoll", turn_ppoll, poke_usr1},
    {"sigwait", turn_sigwait, poke_sigwait},
    {"pending", turn_pending, 0},
    {"stack", turn_stack, 0},
    {"timer", turn_timer, poke_read},
    {"mutex", turn_mutex, 0},
    {"mutex", turn_mutex, 0},
};
#define ROLE_COUNT (int)(sizeof ROLES / sizeof *ROLES)

static void *live(void *argument) {
  Mate *m = me = argument;
  m->tid = syscall(SYS_gettid);
  /* Each has other signals blocked; these three only ever when the role waits for them. */
  sigemptyset(&m->mask);
  for (int s = 34; s < 64; s++)
    if ((m->index * 7 + s) % 3 == 0) sigaddset(&m->mask, s);
  if (m->turn == turn_sigsuspend || m->turn == turn_ppoll) sigaddset(&m->mask, SIGUSR1);
  sigaddset(&m->mask, SIGRTMIN + 1);
  sigaddset(&m->mask, SIGRTMIN + 2);
  sigdelset(&m->mask, SIGRTMIN + 3);
  if (m->turn == turn_pending) sigaddset(&m->mask, SIGSTKFLT);
  pthread_sigmask(SIG_SETMASK, &m->mask, 0);
  m->stack = (stack_t){.ss_flags = SS_DISABLE};
  if (m->index % 2 || m->turn == turn_stack) {
    m->stack = (stack_t){.ss_size = 32768 + 4096 * (m->index % 8)};
    m->stack.ss_sp = mmap(0, m->stack.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(sigaltstack(&m->stack, 0) == 0);
  }
  struct sched_param first = {.sched_priority = 10};
  if (fifo && m->index % 4 == 1) must(sched_setscheduler(0, SCHED_FIFO, &first) == 0);
  if (m->turn == turn_timer) {
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 3};
    event._sigev_un._tid = m->tid;
    timer_t timer;
    struct itimerspec spec = {{0, 1000000}, {0, 1000000}};
    must(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 && timer_settime(timer, 0, &spec, 0) == 0);
  }
  for (;;) {
    m->turn(m);
    sigset_t mask;
    must(syscall(SYS_rt_sigprocmask, SIG_BLOCK, 0, &mask, 8) == 0 && !memcmp(&mask, &m->mask, 8));
    stack_t stack;
    must(sigaltstack(0, &stack) == 0 && stack.ss_flags == m->stack.ss_flags);
    if (!stack.ss_flags) must(stack.ss_sp == m->stack.ss_sp && stack.ss_size == m->stack.ss_size);
    turns[m->index]++;
    if (m->turn == turn_registers || m->turn == turn_vectors || m->turn == turn_stack || m->turn == turn_mutex || m->turn == turn_pending)
      victim_nap(8);
  }
  return 0;
}

static struct sigaction actions[65];

static void verify(void) {
  static Mate self = {.name = "main", .index = -1}, *m = &self;
  for (int s = 1; s <= 64; s++) {
    struct sigaction action;
    if (s == 32 || s == 33) continue;
    /* A Stasis that dies leaves one of them ignored for the moment it takes the thread it was in to walk out. */
    for (int wait = 0; wait < 1000; wait++) {
      must(sigaction(s, 0, &action) == 0);
      if (action.sa_handler == actions[s].sa_handler) break;
      victim_nap(1);
    }
    must(action.sa_handler == actions[s].sa_handler);
  }
  sigset_t none, mask;
  sigemptyset(&none);
  must(syscall(SYS_rt_sigprocmask, SIG_BLOCK, 0, &mask, 8) == 0 && !memcmp(&mask, &none, 8));
  must(hold_registers(500) == 0);
  turns[count]++;
}

static long bare_call(long nr, long a, long b) {
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "0"(nr), "D"(a), "S"(b) : "rcx", "r11", "memory");
  return result;
}

/* Shares even the thread's own words with main(), errno among them: nothing of libc may be called here. */
static int other_process(void *unused) {
  (void)unused;
  bare_call(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
  for (;;) {
    struct timespec t = {0, 2000000};
    if (bare_call(SYS_nanosleep, (long)&t, 0) != 0 || hold_registers(200) != 0) __builtin_trap();
    turns[count + 1]++;
  }
}

int main(int argc, char **argv) {
  static Mate self = {.name = "main"};
  me = &self;
  count = argc > 1 ? atoi(argv[1]) : 50;
  if (count > MOST) count = MOST;
  bool shared = false;
  for (int i = 2; i < argc; i++) {
    fifo |= !strcmp(argv[i], "fifo");
    shared |= !strcmp(argv[i], "shared");
  }
  for (int i = 0; i < 15; i++) known[i] = known_word(3, i);
  known[2] = 1ull << 63;
  known[3] = 1;
  int file = open("turns", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  check(ftruncate(file, (count + 1 + shared) * 8) == 0);
  turns = mmap(0, (count + 1 + shared) * 8, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  check(turns != MAP_FAILED);
  struct sigaction action = {.sa_handler = on_signal};
  sigaction(SIGUSR1, &action, 0);
  action.sa_flags = SA_RESTART;
  sigaction(SIGRTMIN + 3, &action, 0);
  action = (struct sigaction){.sa_handler = on_other_stack, .sa_flags = SA_ONSTACK};
  sigaction(SIGUSR2, &action, 0);
  for (int s = 1; s <= 64; s++) sigaction(s, 0, &actions[s]);
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(0, &one);
  if (fifo) check(sched_setaffinity(0, sizeof one, &one) == 0);
  static pthread_t threads[MOST];
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 256 * 1024);
  for (int i = 0; i < count; i++) {
    Mate *m = &mates[i];
    int role = i % ROLE_COUNT;
    *m = (Mate){.index = i, .name = ROLES[role].name, .turn = ROLES[role].turn};
    if (i > 0 && role == 0) m->turn = turn_nanosleep; /* one teller */
    else m->poke = ROLES[role].poke;
    check(pipe2(m->pipe, O_CLOEXEC) == 0 && (m->epoll = epoll_create1(EPOLL_CLOEXEC)) >= 0);
    check(pthread_create(&threads[i], &small, live, m) == 0);
  }
  for (int i = 0; i < count; i++)
    while (!turns[i]) victim_nap(1);
  if (shared) {
    static char stack[65536] __attribute__((aligned(16)));
    int pid = clone(other_process, stack + sizeof stack, CLONE_VM | CLONE_FILES | SIGCHLD, 0);
    check(pid > 0);
    victim_say("shares with %d", pid);
  }
  victim_ready();
  while (!victim_asked()) {
    verify();
    victim_nap(3);
  }
  for (int i = 0; i < 10; i++) verify();
  pthread_mutex_lock(&lock);
  long difference = together - apart;
  pthread_mutex_unlock(&lock);
  check(difference >= -16 && difference <= 16, "%ld", difference); /* those between the two */
  victim_pass();
}
