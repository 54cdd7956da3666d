/*
 * What a child inherits, and its parent has changed since, or the child: no huge pages (PR_SET_THP_DISABLE), merging
 * (PR_SET_MEMORY_MERGE), dumpable, the core dump filter, timer slack. And what every process has that nobody has
 * changed: all CPUs, no I/O priority, no personality.
 */
#include "victim.h"
#include <sched.h>
#include <signal.h>
#include <sys/personality.h>
#include <sys/prctl.h>

#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67
#define PR_GET_MEMORY_MERGE 68
#endif

typedef struct {
  int thp, merge, dumpable, filter;
  long slack;
  int cpus, ioprio, personality, none; /* no padding */
} Switches;

static void set(const Switches *s) {
  check(!prctl(PR_SET_THP_DISABLE, s->thp, 0, 0, 0));
  prctl(PR_SET_MEMORY_MERGE, s->merge, 0, 0, 0);
  check(!prctl(PR_SET_DUMPABLE, s->dumpable, 0, 0, 0) && !prctl(PR_SET_TIMERSLACK, s->slack, 0, 0, 0));
  int fd = open("/proc/self/coredump_filter", O_WRONLY);
  check(fd >= 0 && dprintf(fd, "0x%x", s->filter) > 0);
  close(fd);
}

static int cpus(void) {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) ? -1 : CPU_COUNT(&set);
}

static void get(Switches *s) {
  char text[32];
  slurp("/proc/self/coredump_filter", text, sizeof text);
  int merge = prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0);
  *s = (Switches){
      .thp = prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0),
      .merge = merge < 0 ? 0 : merge,
      .dumpable = prctl(PR_GET_DUMPABLE),
      .filter = strtol(text, 0, 16),
      .slack = prctl(PR_GET_TIMERSLACK),
      .cpus = cpus(),
      .ioprio = syscall(SYS_ioprio_get, 1, 0),
      .personality = personality(0xffffffff),
  };
}

static Switches *reports; /* of each generation, in memory all have in common */
static int generation;

/* On, off, on, …: each generation has set its own after its child was born, and the child its own before that. */
static const Switches ON = {1, 1, 1, 0x3f, 70000}, OFF = {0, 0, 0, 0x33, 50000};

static Switches before;

static Switches of(int number) {
  Switches want = number % 2 ? OFF : ON;
  want.cpus = sysconf(_SC_NPROCESSORS_ONLN);
  return want;
}

static void settle(void) {
  Switches want = of(generation), have;
  if (prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0) < 0) want.merge = 0;
  set(&want);
  get(&have);
  want.ioprio = have.ioprio;
  check(!memcmp(&want, &have, sizeof want), "generation %d: the kernel has it otherwise", generation);
  before = have;
}

#define GENERATIONS 4
static volatile int *turn;

int main(void) {
  reports = mmap(0, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  check(reports != MAP_FAILED);
  turn = (int *)(reports + GENERATIONS);
  for (generation = 0; generation < GENERATIONS - 1; generation++) {
    settle();
    pid_t pid = fork();
    check(pid >= 0);
    if (pid > 0) break;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
  }
  settle();
  __atomic_fetch_add(turn, 1, __ATOMIC_SEQ_CST);
  if (generation > 0) {
    for (;;) {
      get(&reports[generation]);
      victim_nap(5);
    }
  }
  while (*turn < GENERATIONS) victim_nap(1);
  victim_ready();
  victim_wait();
  victim_nap(200);
  get(&reports[0]);
  for (int i = 0; i < GENERATIONS; i++) {
    Switches want = of(i), *have = &reports[i];
    if (before.merge == 0) want.merge = 0;
    want.ioprio = before.ioprio;
    check(!memcmp(&want, have, sizeof want), "generation %d: %d %d %d %x %ld; %d %x %x", i, have->thp, have->merge,
          have->dumpable, have->filter, have->slack, have->cpus, have->ioprio, have->personality);
  }
  victim_pass();
}
