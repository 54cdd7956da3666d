/*
 * Seccomp: filters of a process without a privilege, of threads that differ, of threads that are to be alike, of
 * children; and strict mode. What the filters let through is as telling as what they do not.
 */
#include "victim.h"
#include <grp.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/* ---- filters ---- */

#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define LOAD_CALL BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define ON(call, action) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1), BPF_STMT(BPF_RET | BPF_K, action)

static long install(unsigned flags, struct sock_filter *filter, size_t length) {
  struct sock_fprog program = {length, filter};
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

/* From now on a call fails with an error number that nothing else gives it. */
static long deny(unsigned flags, int call, int error) {
  struct sock_filter filter[] = {LOAD_CALL, ON(call, SECCOMP_RET_ERRNO | error), ALLOW};
  return install(flags, filter, sizeof filter / sizeof *filter);
}

/* Calls that Stasis might make in the task, and the victim does not: each ends the process. */
static long forbid_all_of_stasis(void) {
  struct sock_filter filter[] = {
      LOAD_CALL,
      ON(SYS_mmap, SECCOMP_RET_KILL_PROCESS),
      ON(SYS_munmap, SECCOMP_RET_KILL_PROCESS),
      ON(SYS_mprotect, SECCOMP_RET_KILL_PROCESS),
      ON(SYS_mremap, SECCOMP_RET_KILL_PROCESS),
      ON(SYS_rt_sigaction, SECCOMP_RET_KILL_PROCESS),
      ON(SYS_rt_sigprocmask, SECCOMP_RET_KILL_PROCESS),
      ON(SYS_rt_sigqueueinfo, SECCOMP_RET_KILL_PROCESS),
      ON(SYS_sigaltstack, SECCOMP_RET_KILL_PROCESS),
      ON(SYS_prctl, SECCOMP_RET_KILL_PROCESS),
      ON(SYS_tgkill, SECCOMP_RET_KILL_PROCESS),
      ON(SYS_gettid, SECCOMP_RET_KILL_PROCESS),
      ON(SYS_capset, SECCOMP_RET_KILL_PROCESS),
      ON(SYS_setresuid, SECCOMP_RET_KILL_PROCESS),
      ON(SYS_setresgid, SECCOMP_RET_KILL_PROCESS),
      ON(SYS_setgroups, SECCOMP_RET_KILL_PROCESS),
      ON(SYS_personality, SECCOMP_RET_KILL_PROCESS),
      ALLOW,
  };
  return install(0, filter, sizeof filter / sizeof *filter);
}

/* What a call without arguments fails with; 0 if it does not. */
static int error_of(int call) {
  char room[1024];
  errno = 0;
  return syscall(call, call == SYS_getrusage ? 0l : (long)room, room) < 0 ? errno : 0;
}

/* A field of a thread's status. */
static long status_of(const char *task, const char *key) {
  char path[64], text[8192];
  snprintf(path, sizeof path, "/proc/%s/status", task);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  if (n <= 0) return -1;
  text[n] = 0;
  char *at = strstr(text, key);
  return at ? strtol(at + strlen(key), 0, 10) : -1;
}

static void restricted(long mode, long filters) {
  check(status_of("thread-self", "\nSeccomp:") == mode, "%ld", status_of("thread-self", "\nSeccomp:"));
  check(status_of("thread-self", "\nSeccomp_filters:") == filters, "%ld",
        status_of("thread-self", "\nSeccomp_filters:"));
}

#define CALL_A SYS_times
#define CALL_B SYS_sysinfo
#define CALL_C SYS_getrusage
#define CALL_D SYS_uname

static void denied(int a, int b, int c, int d) {
  check(error_of(CALL_A) == a, "%d, not %d", error_of(CALL_A), a);
  check(error_of(CALL_B) == b, "%d, not %d", error_of(CALL_B), b);
  check(error_of(CALL_C) == c, "%d, not %d", error_of(CALL_C), c);
  check(error_of(CALL_D) == d, "%d, not %d", error_of(CALL_D), d);
}

/* ---- one thread ---- */

static void verify_user(void) {
  denied(71, 72, 0, 0);
  restricted(2, 3);
  check(status_of("self", "\nNoNewPrivs:") == 0);
  check(geteuid() == 1234);
}

/* Filters that were installed with a privilege, by a program that has none any more. */
static void as_user(void) {
  check(!deny(0, CALL_A, 71));
  check(!deny(SECCOMP_FILTER_FLAG_LOG, CALL_B, 72));
  struct sock_filter nothing[] = {ALLOW};
  check(!install(0, nothing, 1));
  check(!setgroups(0, 0) && !setresgid(1234, 1234, 1234) && !setresuid(1234, 1234, 1234));
  check(!prctl(PR_SET_DUMPABLE, 1l, 0l, 0l, 0l));
  /* Only without no_new_privs is this an error. */
  check(deny(0, CALL_D, 1) == -1 && errno == EACCES);
}

static void verify_forbidding(void) {
  denied(71, 0, 0, 0);
  restricted(2, 2);
}

/* ---- threads ---- */

enum { THREADS = 3 };
static _Atomic int stage[THREADS + 1], order;
static const char *how;

static void tell(_Atomic int *word, int value) {
  atomic_store(word, value);
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1000, 0l);
}

static void await(_Atomic int *word, int value) {
  for (int is; (is = atomic_load(word)) < value;) syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, is, 0l);
}

/* What a thread is to find, 0 being the main one. */
static void verify_thread(int me) {
  if (!strcmp(how, "differ")) {
    denied(71, me == 1 ? 72 : 0, me == 2 ? 73 : 0, 0);
    restricted(2, me == 1 || me == 2 ? 2 : 1);
  } else if (!strcmp(how, "some")) {
    denied(me == 1 ? 71 : 0, me >= 2 ? 72 : 0, 0, 0);
    restricted(me ? 2 : 0, me ? 1 : 0);
  } else {
    denied(71, 72, 0, 0);
    restricted(2, 2);
  }
}

static void *thread(void *argument) {
  int me = (int)(intptr_t)argument;
  await(&order, 1);
  if (!strcmp(how, "differ") && me == 1) check(!deny(0, CALL_B, 72));
  if (!strcmp(how, "differ") && me == 2) check(!deny(0, CALL_C, 73));
  if (!strcmp(how, "some")) check(!deny(0, me == 1 ? CALL_A : CALL_B, me == 1 ? 71 : 72));
  tell(&stage[me], 1);
  while (atomic_load(&order) < 2) {
    verify_thread(me);
    victim_nap(3);
  }
  verify_thread(me);
  tell(&stage[me], 2);
  await(&order, 3);
  /* The main thread has tried to bring a filter of its own to all. */
  check(error_of(CALL_D) == (strcmp(how, "synced") ? 0 : 74), "%d", error_of(CALL_D));
  tell(&stage[me], 3);
  for (;;) pause();
}

static void with_threads(void) {
  pthread_t id;
  if (!strcmp(how, "differ")) check(!prctl(PR_SET_NO_NEW_PRIVS, 1l, 0l, 0l, 0l));
  for (intptr_t i = 1; i <= THREADS; i++) check(!pthread_create(&id, 0, thread, (void *)i));
  if (strcmp(how, "some")) check(!deny(SECCOMP_FILTER_FLAG_TSYNC, CALL_A, 71));
  if (!strcmp(how, "synced")) check(!deny(SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_LOG, CALL_B, 72));
  tell(&order, 1);
  for (int i = 1; i <= THREADS; i++) await(&stage[i], 1);
  victim_ready();
  while (!victim_asked()) {
    verify_thread(0);
    victim_nap(3);
  }
  tell(&order, 2);
  for (int i = 1; i <= THREADS; i++) await(&stage[i], 2);
  /* A thread's filters can be brought to others if theirs are the very same ones, as far as they have any. */
  long outcome = deny(SECCOMP_FILTER_FLAG_TSYNC, CALL_D, 74);
  check(!strcmp(how, "synced") ? outcome == 0 : outcome > 0, "%ld", outcome);
  tell(&order, 3);
  for (int i = 1; i <= THREADS; i++) await(&stage[i], 3);
  victim_pass();
}

/* ---- children ---- */

static int ask_pipe[2][2], answer_pipe[2][2];
static pid_t strict, heir;
static volatile long *turns;

/* Makes only the four calls that strict mode allows, until it is told to make another. */
static void be_strict(void) {
  check(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0l, 0l, 0l));
  for (char c; read(ask_pipe[0][0], &c, 1) == 1;) {
    if (c == 'x') syscall(SYS_getpid);
    ++*turns;
    if (write(answer_pipe[0][1], &c, 1) != 1) break;
  }
  syscall(SYS_exit, 3);
}

/* Has its parent's filters, and one more. */
static void be_heir(void) {
  check(!deny(0, CALL_C, 73));
  for (char c; read(ask_pipe[1][0], &c, 1) == 1;) {
    denied(71, 72, 73, 0);
    restricted(2, 3);
    if (write(answer_pipe[1][1], &c, 1) != 1) break;
  }
  _exit(3);
}

static char answer_of(int child, char question) {
  char c = 0;
  check(write(ask_pipe[child][1], &question, 1) == 1);
  check(read(answer_pipe[child][0], &c, 1) == 1, "child %d is gone", child);
  return c;
}

static void verify_children(void) {
  char name[20];
  long before = *turns;
  check(answer_of(0, 'a') == 'a' && *turns == before + 1);
  check(answer_of(1, 'b') == 'b');
  snprintf(name, sizeof name, "%d", strict);
  check(status_of(name, "\nSeccomp:") == 1);
  denied(71, 72, 0, 0);
  restricted(2, 2);
}

static void with_children(void) {
  turns = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  check(turns != MAP_FAILED);
  for (int i = 0; i < 2; i++) check(!pipe(ask_pipe[i]) && !pipe(answer_pipe[i]));
  strict = fork();
  if (!strict) be_strict();
  check(!deny(0, CALL_A, 71) && !deny(0, CALL_B, 72));
  heir = fork();
  if (!heir) be_heir();
  verify_children();
  victim_ready();
  while (!victim_asked()) {
    verify_children();
    victim_nap(3);
  }
  verify_children();
  /* It dies of it, and nobody hears an answer. */
  int status;
  check(write(ask_pipe[0][1], "x", 1) == 1 && waitpid(strict, &status, 0) == strict);
  check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "%#x", status);
  check(!kill(heir, SIGKILL) && waitpid(heir, &status, 0) == heir);
  victim_pass();
}

int main(int argc, char **argv) {
  how = argc > 1 ? argv[1] : "user";
  if (!strcmp(how, "user")) {
    as_user();
    victim_ready();
    victim_loop(verify_user);
  }
  if (!strcmp(how, "forbidding")) {
    check(!deny(0, CALL_A, 71) && !forbid_all_of_stasis());
    victim_ready();
    victim_loop(verify_forbidding);
  }
  if (!strcmp(how, "children")) with_children();
  with_threads();
}
