/* Scheduling, as sched_getattr and the like tell it. How it is scheduled is an argument. */
#include "victim.h"
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>

typedef struct {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
  uint32_t min, max;
} Attr;

static Attr was;
static int nice_was, ioprio_was;
static uint64_t cpus_was;

static void look(Attr *attr, int *nice, int *ioprio, uint64_t *cpus) {
  memset(attr, 0, sizeof *attr);
  check(!syscall(SYS_sched_getattr, 0, attr, sizeof *attr, 0));
  *nice = getpriority(PRIO_PROCESS, 0);
  *ioprio = syscall(SYS_ioprio_get, 1, 0);
  *cpus = 0;
  check(syscall(SYS_sched_getaffinity, 0, sizeof *cpus, cpus) > 0);
}

static void verify(void) {
  Attr is;
  int nice, ioprio;
  uint64_t cpus;
  look(&is, &nice, &ioprio, &cpus);
  check(!memcmp(&is, &was, sizeof is), "policy %u flags %lx nice %d prio %u runtime %lu", is.policy, is.flags, is.nice,
        is.priority, is.runtime);
  check(nice == nice_was && ioprio == ioprio_was && cpus == cpus_was, "nice %d ioprio %x cpus %lx", nice, ioprio, cpus);
}

static void set(Attr attr) {
  attr.size = sizeof attr;
  if (syscall(SYS_sched_setattr, 0, &attr, 0)) skip("sched_setattr: %s", strerrorname_np(errno));
}

int main(int argc, char **argv) {
  const char *how = argc > 1 ? argv[1] : "fifo";
  uint64_t second = 2;
  if (!strcmp(how, "fifo")) set((Attr){.policy = SCHED_FIFO, .priority = 17});
  else if (!strcmp(how, "rr")) set((Attr){.policy = SCHED_RR, .priority = 99, .flags = 1});
  else if (!strcmp(how, "rr-nice")) {
    check(!setpriority(PRIO_PROCESS, 0, -9));
    set((Attr){.policy = SCHED_RR, .priority = 1});
    check(!setpriority(PRIO_PROCESS, 0, -9));
  } else if (!strcmp(how, "idle")) {
    check(!setpriority(PRIO_PROCESS, 0, 11));
    set((Attr){.policy = SCHED_IDLE, .nice = 11});
  }
  else if (!strcmp(how, "slice")) set((Attr){.nice = -5, .runtime = 1500000});
  else if (!strcmp(how, "deadline")) {
    /* a host that is busy elsewhere makes it overrun, too */
    signal(SIGXCPU, SIG_IGN);
    set((Attr){.policy = 6, .runtime = 5000000, .deadline = 40000000, .period = 50000000, .flags = 4 /* DL_OVERRUN */});
  } else fail("how?");
  if (strcmp(how, "deadline")) {
    check(!syscall(SYS_sched_setaffinity, 0, sizeof second, &second) || errno == EINVAL);
    check(!syscall(SYS_ioprio_set, 1, 0, 1 << 13 | 3));
  }
  look(&was, &nice_was, &ioprio_was, &cpus_was);
  victim_ready();
  victim_loop(verify);
}
