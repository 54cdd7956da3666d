/* Attributes of a task that are easily forgotten: each is set to what no new process has. */
#include "victim.h"
#include <sched.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#ifndef PR_GET_THP_DISABLE
#define PR_SET_THP_DISABLE 41
#define PR_GET_THP_DISABLE 42
#endif
#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67
#define PR_GET_MEMORY_MERGE 68
#endif

/* Each attribute as a number, read by the task itself. */
typedef struct {
  const char *name;
  long was;
  long (*read)(void);
} Attribute;

static long read_personality(void) { return personality(0xffffffff); }
static long read_affinity(void) {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  return CPU_COUNT(&set) * 1000 + CPU_ISSET(0, &set);
}
static long read_ioprio(void) { return syscall(SYS_ioprio_get, 1, 0); }
static long read_slack(void) { return prctl(PR_GET_TIMERSLACK); }
static long read_dumpable(void) { return prctl(PR_GET_DUMPABLE); }
static long read_keepcaps(void) { return prctl(PR_GET_KEEPCAPS); }
static long read_nonewprivs(void) { return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); }
static long read_subreaper(void) {
  int value = -1;
  prctl(PR_GET_CHILD_SUBREAPER, &value);
  return value;
}
static long read_thp(void) { return prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0); }
static long read_merge(void) { return prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0); }
static long read_mce(void) { return prctl(PR_MCE_KILL_GET, 0, 0, 0, 0); }
static long read_tsc(void) {
  int value = -1;
  prctl(PR_GET_TSC, &value);
  return value;
}
static long read_nice(void) { return getpriority(PRIO_PROCESS, 0); }
static long read_policy(void) { return sched_getscheduler(0); }
static long from_file(const char *path, int base) {
  char text[64];
  slurp(path, text, sizeof text);
  return strtol(text, 0, base);
}
static long read_oom(void) { return from_file("/proc/self/oom_score_adj", 10); }
static long read_coredump(void) { return from_file("/proc/self/coredump_filter", 16); }
static long read_stack_limit(void) {
  struct rlimit limit;
  getrlimit(RLIMIT_STACK, &limit);
  return limit.rlim_cur / 1024;
}
static long read_files_limit(void) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur * 100000 + limit.rlim_max;
}
static long read_core_limit(void) {
  struct rlimit limit;
  getrlimit(RLIMIT_CORE, &limit);
  return limit.rlim_cur * 100000 + limit.rlim_max;
}

static Attribute attributes[] = {
    {"personality", 0, read_personality},  {"affinity", 0, read_affinity},
    {"ioprio", 0, read_ioprio},            {"timer slack", 0, read_slack},
    {"dumpable", 0, read_dumpable},        {"keepcaps", 0, read_keepcaps},
    {"no_new_privs", 0, read_nonewprivs},  {"subreaper", 0, read_subreaper},
    {"thp_disable", 0, read_thp},          {"memory_merge", 0, read_merge},
    {"mce_kill", 0, read_mce},             {"tsc", 0, read_tsc},
    {"nice", 0, read_nice},                {"policy", 0, read_policy},
    {"oom_score_adj", 0, read_oom},        {"coredump_filter", 0, read_coredump},
    {"RLIMIT_STACK", 0, read_stack_limit}, {"RLIMIT_NOFILE", 0, read_files_limit},
    {"RLIMIT_CORE", 0, read_core_limit},
};

static void verify(void) {
  for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++) {
    long is = attributes[i].read();
    check(is == attributes[i].was, "%s is %ld, was %ld", attributes[i].name, is, attributes[i].was);
  }
}

static void put(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  check(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s", path);
  close(fd);
}

int main(void) {
  personality(ADDR_NO_RANDOMIZE | ADDR_COMPAT_LAYOUT);
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(0, &one);
  check(!sched_setaffinity(0, sizeof one, &one));
  check(!syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 6));
  check(!setpriority(PRIO_PROCESS, 0, 7));
  struct sched_param none = {0};
  check(!sched_setscheduler(0, SCHED_BATCH, &none));
  check(!prctl(PR_SET_TIMERSLACK, 123456l));
  check(!prctl(PR_SET_KEEPCAPS, 1l));
  check(!prctl(PR_SET_CHILD_SUBREAPER, 1l));
  check(!prctl(PR_SET_NO_NEW_PRIVS, 1l, 0l, 0l, 0l));
  check(!prctl(PR_SET_THP_DISABLE, 1l, 0l, 0l, 0l));
  prctl(PR_MCE_KILL, 1l /* set */, 1l /* early */, 0l, 0l);
  struct rlimit files = {777, 888}, core = {5, 99999}, stack = {4 << 20, 0};
  struct rlimit had;
  getrlimit(RLIMIT_STACK, &had);
  stack.rlim_max = had.rlim_max;
  check(!setrlimit(RLIMIT_NOFILE, &files) && !setrlimit(RLIMIT_CORE, &core) && !setrlimit(RLIMIT_STACK, &stack));
  put("/proc/self/oom_score_adj", "321");
  put("/proc/self/coredump_filter", "0x17");
  for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++) attributes[i].was = attributes[i].read();
  victim_ready();
  victim_loop(verify);
}
