/* What a member of a random tree does about itself: memory, signals, timers, limits, threads. */
#ifndef RANDOM_TREE_STATE_H
#define RANDOM_TREE_STATE_H
#include "random-tree.h"
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/time.h>

static int pages(void) { return 1 + roll(24); }

/* Some pages of a region get content. */
static void fill_some(void *at, int count) {
  for (int i = 0; i < count; i++)
    if (chance(60)) fill_known((char *)at + i * PAGE, PAGE, dice_seed + dice_turn + i);
}

static void do_memory(void) {
  int count = pages();
  int flags = (chance(25) ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS | (chance(15) ? MAP_NORESERVE : 0);
  unsigned char *at = mmap(0, count * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (at == MAP_FAILED) return;
  fill_some(at, count);
  /* A hole, and what is behind it nobody looks at: the hole may become a thread's stack. */
  int hole = chance(15) ? roll(count) : count;
  if (hole < count) munmap(at + hole * PAGE, PAGE);
  count = hole;
  if (count == 0) return;
  keep_region(at, count * PAGE);
  if (chance(25)) mprotect(at + roll(count) * PAGE, PAGE, roll(8));
  static const int advice[] = {MADV_DONTFORK, MADV_DONTDUMP, MADV_WIPEONFORK, MADV_HUGEPAGE,  MADV_NOHUGEPAGE,
                               MADV_RANDOM,   MADV_SEQUENTIAL, MADV_MERGEABLE, MADV_DONTNEED,
                               102 /* MADV_GUARD_INSTALL */};
  if (chance(35)) madvise(at + roll(count) * PAGE, PAGE, advice[roll(10)]);
  if (chance(10)) mlock2(at + roll(count) * PAGE, PAGE, roll(2));
  if (chance(15)) prctl(0x53564d41 /* PR_SET_VMA */, 0, at, count * PAGE, "random");
}

/* Memory that was its parent's changes. */
static void do_change(void) {
  if (!region_count) return;
  int i = roll(region_count);
  struct {
    void *base;
    size_t length;
  } here = {stuff, 100}, there = {regions[i].at + roll(regions[i].length / PAGE) * PAGE, 100};
  fill_known(stuff, 104, dice_seed + dice_turn++);
  syscall(SYS_process_vm_writev, getpid(), &here, 1l, &there, 1l, 0l);
}

static void do_file_memory(void) {
  const char *path = fresh_path("mapped");
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), count = pages();
  if (fd < 0) return;
  fill_known(stuff, 5 * PAGE, dice_seed + dice_turn);
  size_t size = (1 + roll(5)) * PAGE - roll(3000);
  if (write(fd, stuff, size) < 0) fail("write: %s", strerrorname_np(errno));
  bool shared = chance(40);
  unsigned char *at = mmap(0, count * PAGE, PROT_READ | PROT_WRITE, shared ? MAP_SHARED : MAP_PRIVATE, fd, 0);
  if (at != MAP_FAILED) {
    keep_region(at, count * PAGE);
    /* Not behind the end of the file: what is written there the kernel may forget at any time. */
    if (chance(70)) fill_known(at, shared && size < PAGE / 2 ? size & ~7ul : PAGE / 2, dice_seed + dice_turn++);
    if (chance(30)) mprotect(at, PAGE, PROT_READ);
  }
  if (chance(30)) unlink(path);
  if (chance(50)) close(fd);
  else keep(fd);
}

static void do_segment(void) {
  int count = pages(), id = shmget(IPC_PRIVATE, count * PAGE, 0600);
  if (id < 0) return;
  void *at = shmat(id, 0, 0);
  /* It goes with those who have it. */
  shmctl(id, IPC_RMID, 0);
  if (at == (void *)-1) return;
  fill_some(at, count);
  keep_region(at, count * PAGE);
}

static void on_signal(int number) { (void)number; }
static void on_signal_with(int number, siginfo_t *info, void *context) {
  (void)number, (void)info, (void)context;
}

/* Any but those that tell of children, stop, or cannot be. */
static int any_signal(void) {
  static const int usual[] = {SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE, SIGALRM, SIGTERM, SIGURG, SIGIO, SIGWINCH, SIGPWR};
  return chance(60) ? usual[roll(12)] : 34 + roll(31);
}

static void do_action(void) {
  struct sigaction action = {0};
  int flags = 0;
  if (chance(50)) flags |= SA_RESTART;
  if (chance(30)) flags |= SA_ONSTACK;
  if (chance(20)) flags |= SA_NODEFER;
  if (chance(10)) flags |= SA_RESETHAND;
  for (int i = roll(5); i > 0; i--) sigaddset(&action.sa_mask, any_signal());
  switch (roll(3)) {
    case 0: action.sa_handler = SIG_IGN; break;
    case 1: action.sa_handler = on_signal; break;
    case 2: action.sa_sigaction = on_signal_with, flags |= SA_SIGINFO; break;
  }
  action.sa_flags = flags;
  /* What waits would be gone if it were to be ignored. */
  int number = any_signal();
  for (int i = 0; i < pending_count; i++)
    if (pending[i].number == number) return;
  sigaction(number, &action, 0);
}

static void do_mask(void) {
  sigset_t set;
  sigemptyset(&set);
  for (int i = roll(8); i > 0; i--) sigaddset(&set, any_signal());
  sigprocmask(SIG_BLOCK, &set, 0);
}

/* A signal for ourselves that waits. */
static void do_pending(void) {
  int number = chance(50) ? 34 + roll(31) : any_signal();
  if (pending_count == MAX_PENDING) return;
  struct sigaction action;
  if (sigaction(number, 0, &action) || action.sa_handler == SIG_IGN) return;
  for (int i = 0; i < pending_count; i++)
    if (pending[i].number == number && number < 34) return;
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, number);
  sigprocmask(SIG_BLOCK, &set, 0);
  siginfo_t info = {.si_signo = number, .si_code = SI_QUEUE, .si_pid = getpid(), .si_value.sival_int = roll(100000)};
  long sent = chance(50) ? syscall(SYS_rt_sigqueueinfo, getpid(), number, &info)
                         : syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), number, &info);
  if (sent) return;
  pending[pending_count].number = number;
  pending[pending_count].code = SI_QUEUE;
  pending[pending_count++].value = info.si_value.sival_int;
}

static void do_altstack(void) {
  static char room[65536];
  stack_t stack = {room, roll(2) ? 0 : (int)(1u << 31) /* SS_AUTODISARM */, 16384 + roll(40000)};
  sigaltstack(&stack, 0);
}

static void do_itimer(void) {
  struct itimerval t = {{roll(2) * 5, 7}, {(2 + roll(90)) * 3600, 0}};
  setitimer(roll(3), &t, 0);
}

static void do_timer(void) {
  static const clockid_t clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_PROCESS_CPUTIME_ID, CLOCK_TAI};
  if (timer_count == MAX_TIMERS) return;
  struct sigevent event = {.sigev_notify = chance(60) ? SIGEV_SIGNAL : SIGEV_NONE, .sigev_signo = any_signal()};
  event.sigev_value.sival_int = roll(1000);
  if (chance(20)) {
    event.sigev_notify = SIGEV_THREAD_ID;
    event._sigev_un._tid = gettid();
  }
  if (timer_create(clocks[roll(5)], &event, &timers[timer_count])) return;
  timer_count++;
  struct itimerspec t = {{roll(3), 7}, {chance(80) ? (2 + roll(90)) * 3600 : 0, 0}};
  timer_settime(timers[timer_count - 1], 0, &t, 0);
}

static void do_limit(void) {
  static const int which[] = {RLIMIT_CPU, RLIMIT_CORE, RLIMIT_STACK, RLIMIT_NPROC, RLIMIT_SIGPENDING, RLIMIT_MSGQUEUE, RLIMIT_NICE, RLIMIT_RTTIME};
  int limit = which[roll(8)];
  struct rlimit now, wanted;
  if (getrlimit(limit, &now)) return;
  rlim_t high = now.rlim_max < 100000000 ? now.rlim_max : 100000000;
  wanted.rlim_max = chance(50) ? now.rlim_max : high - roll(1000);
  wanted.rlim_cur = high > 2000 ? high - 1000 - roll(1000) : high;
  if (wanted.rlim_cur > wanted.rlim_max) wanted.rlim_cur = wanted.rlim_max;
  setrlimit(limit, &wanted);
}

static void write_own(const char *name, const char *format, int value) {
  char path[60], text[40];
  snprintf(path, sizeof path, "/proc/self/%s", name);
  int fd = open(path, O_WRONLY | O_CLOEXEC), length = snprintf(text, sizeof text, format, value);
  if (fd < 0) return;
  if (write(fd, text, length) != length) return (void)close(fd);
  close(fd);
}

static void do_setting(void) {
  cpu_set_t cpus;
  struct sched_param none = {0};
  switch (roll(16)) {
    case 0: umask(roll(0100)); break;
    case 1: setpriority(PRIO_PROCESS, 0, roll(20)); break;
    case 2: syscall(SYS_ioprio_set, 1l, 0l, chance(70) ? 2 << 13 | roll(8) : 3 << 13); break;
    case 3: sched_setscheduler(0, chance(50) ? SCHED_BATCH : SCHED_IDLE, &none); break;
    case 4:
      CPU_ZERO(&cpus);
      CPU_SET(roll(2), &cpus);
      sched_setaffinity(0, sizeof cpus, &cpus);
      break;
    case 5: prctl(PR_SET_TIMERSLACK, 1 + roll(100000)); break;
    case 6: prctl(PR_SET_DUMPABLE, roll(2)); break;
    case 7: prctl(PR_SET_PDEATHSIG, any_signal()); break;
    case 8: prctl(PR_SET_KEEPCAPS, 1); break;
    case 9: prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); break;
    case 10: write_own("oom_score_adj", "%d", roll(500)); break;
    case 11: write_own("coredump_filter", "%x", roll(512)); break;
    case 12: personality(chance(50) ? ADDR_NO_RANDOMIZE : UNAME26); break;
    case 13: prctl(PR_SET_CHILD_SUBREAPER, 1); break;
    case 14: {
      char name[16];
      snprintf(name, sizeof name, "m%d %d)", me, roll(1000));
      prctl(PR_SET_NAME, name);
      break;
    }
    /* Of this thread only: the C library would have all others do it too, and waits for one that never does. */
    case 15: syscall(SYS_setgroups, 3l, (gid_t[]){roll(1000), 2000 + roll(1000), 70000}); break;
  }
}

/* Allows everything, and so is there only to be found again. */
static void do_seccomp(void) {
  struct sock_filter code[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, roll(6) * 4), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  struct sock_fprog program = {2, code};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  syscall(SYS_seccomp, 1l, 0l, &program);
}

/* ---- threads: each waits in a call of its own kind, all signals blocked ---- */

static int thread_pipe[2];
static pthread_mutex_t never = PTHREAD_MUTEX_INITIALIZER;

static void *wait_somehow(void *argument) {
  long dice = (long)argument;
  char name[16], byte;
  snprintf(name, sizeof name, "thread %ld", dice % 1000);
  prctl(PR_SET_NAME, name);
  if (dice % 3 == 0) setpriority(PRIO_PROCESS, gettid(), dice / 3 % 20);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGXFSZ); /* which nobody sends */
  switch (dice / 7 % 5) {
    case 0: pthread_mutex_lock(&never); break;
    case 1: sleep(1000000); break;
    case 2:
      if (read(thread_pipe[0], &byte, 1) == 1) fail("somebody has written");
      break;
    case 3: poll(0, 0, -1); break;
    case 4: sigwaitinfo(&set, 0); break;
  }
  for (;;) pause();
}

static void do_threads(void) {
  sigset_t all, before;
  sigfillset(&all);
  if (!thread_pipe[1]) {
    if (pipe2(thread_pipe, O_CLOEXEC)) return;
    pthread_mutex_lock(&never);
  }
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 65536);
  sigprocmask(SIG_BLOCK, &all, &before);
  for (int i = 1 + roll(3); i > 0; i--) {
    pthread_t thread;
    pthread_create(&thread, &small, wait_somehow, (void *)(long)roll(100000));
  }
  sigprocmask(SIG_SETMASK, &before, 0);
}
#endif
