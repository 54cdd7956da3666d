/*
 * Children that have ended and that nobody has waited for: every exit code, every signal; parents that block, catch or
 * ignore the news; zombies that lead a session or a group.
 *
 *     zombies [codes|leaders]    with `codes`: one for each exit code there is; `leaders`: also a session and a group
 *                                led by one
 */
#include "family.h"
#include <sys/resource.h>

#define MOST 400
static struct {
  pid_t pid;
  int code, status; /* as waitid() tells it */
  pid_t sid, pgid;
  char name[16];
} dead[MOST];
static int deaths;

/* Ended by an exit code, or by a signal that is negative here; `place` as in `ending`. */
static void die(int how) {
  char name[16];
  snprintf(name, sizeof name, "ends %d", how);
  prctl(PR_SET_NAME, name);
  if (how >= 0) _exit(how);
  /* Signals that would leave a core leave none. */
  check(!setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}) && !prctl(PR_SET_DUMPABLE, 0));
  signal(-how, SIG_DFL);
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_UNBLOCK, &all, 0);
  kill(getpid(), -how);
  _exit(99);
}

enum { PLAIN, LEADS_GROUP, LEADS_SESSION };

/* Bears a child that ends, and waits until it has, but not for it. Its place: what it leads. */
static pid_t corpse(int how, int place) {
  check(deaths < MOST);
  pid_t pid = fork();
  check(pid >= 0);
  if (pid == 0) {
    if (place == LEADS_SESSION) check(setsid() == getpid());
    if (place == LEADS_GROUP) check(!setpgid(0, 0));
    die(how);
  }
  siginfo_t info;
  check(!waitid(P_PID, pid, &info, WEXITED | WNOWAIT));
  check(info.si_code == (how >= 0 ? CLD_EXITED : CLD_KILLED) && info.si_status == (how >= 0 ? how : -how),
        "%d: %d %d", how, info.si_code, info.si_status);
  dead[deaths].pid = pid;
  dead[deaths].code = info.si_code;
  dead[deaths].status = info.si_status;
  dead[deaths].sid = getsid(pid);
  dead[deaths].pgid = getpgid(pid);
  snprintf(dead[deaths].name, sizeof dead[0].name, "ends %d", how);
  return dead[deaths++].pid;
}

static void verify_corpse(int i) {
  siginfo_t info = {0};
  pid_t pid = dead[i].pid;
  check(process_state(pid) == 'Z', "%d (%s) is %c", pid, dead[i].name, process_state(pid));
  check(!waitid(P_PID, pid, &info, WEXITED | WNOWAIT | WNOHANG) && info.si_pid == pid, "%d", pid);
  check(info.si_code == dead[i].code && info.si_status == dead[i].status, "%d (%s): %d %d", pid, dead[i].name,
        info.si_code, info.si_status);
  check(getsid(pid) == dead[i].sid && getpgid(pid) == dead[i].pgid, "%s: session %d, group %d; were %d, %d",
        dead[i].name, getsid(pid), getpgid(pid), dead[i].sid, dead[i].pgid);
  char path[40], name[32];
  snprintf(path, sizeof path, "/proc/%d/comm", pid);
  slurp(path, name, sizeof name);
  name[strcspn(name, "\n")] = 0;
  check(!strcmp(name, dead[i].name), "%s is named %s", dead[i].name, name);
}

/* The news of this parent: what it has been told by signals. */
static volatile int told;
static bool blocked;
static pid_t pending_pid;
static int live_children;

static void on_child(int signal) {
  (void)signal;
  told++;
}

static void verify(void) {
  static int told_before = -1;
  for (int i = 0; i < deaths; i++) verify_corpse(i);
  if (told_before < 0) told_before = told;
  check(told == told_before, "a signal came for no child: %d, %d before", told, told_before);
  sigset_t set;
  check(!sigpending(&set) && sigismember(&set, SIGCHLD) == blocked, "member %d", me);
  pid_t list[MOST + 8];
  int there = children_of_self(list, MOST + 8);
  check(there == deaths + live_children, "member %d has %d children, not %d", me, there, deaths + live_children);
}

/* Each is to be waited for once, and nobody else. */
static void bury_all(void) {
  if (blocked) {
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    siginfo_t info;
    struct timespec none = {0, 0};
    check(sigtimedwait(&child, &info, &none) == SIGCHLD && info.si_pid == pending_pid, "of %d, not %d", info.si_pid,
          pending_pid);
    check(info.si_code == dead[0].code && info.si_status == dead[0].status);
    check(sigtimedwait(&child, &info, &none) < 0 && errno == EAGAIN);
  }
  for (int i = deaths - 1; i >= 0; i--) {
    int status, want = dead[i].code == CLD_EXITED ? dead[i].status << 8 : dead[i].status;
    struct rusage usage;
    check(wait4(dead[i].pid, &status, 0, &usage) == dead[i].pid && status == want, "%s: %#x", dead[i].name, status);
  }
  if (live_children == 0) check(waitpid(-1, 0, WNOHANG) < 0 && errno == ECHILD);
  deaths = 0;
}

/* ---- parents ---- */

static void parent_plain(int codes) {
  for (int code = 0; code < codes; code++) corpse(code, PLAIN);
  corpse(255, PLAIN);
  corpse(128, PLAIN);
  static const int signals[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGILL,  SIGTRAP,   SIGABRT, SIGBUS,    SIGFPE,
                                SIGKILL, SIGUSR1, SIGSEGV, SIGPIPE, SIGALRM,   SIGTERM, SIGXCPU,   SIGSTKFLT,
                                SIGXFSZ, SIGSYS,  34,      40,      SIGVTALRM, 64};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) corpse(-signals[i], PLAIN);
}

static void parent_blocked(int codes) {
  (void)codes;
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child, 0);
  blocked = true;
  pending_pid = corpse(17, PLAIN);
  corpse(-SIGTERM, PLAIN);
  corpse(18, PLAIN);
}

static void parent_catching(int codes) {
  (void)codes;
  struct sigaction action = {.sa_handler = on_child, .sa_flags = SA_RESTART};
  sigaction(SIGCHLD, &action, 0);
  for (int i = 0; i < 5; i++) corpse(i, PLAIN);
  while (told == 0) victim_nap(1);
}

/* No zombies, and one child that lives; also with SA_NOCLDWAIT. */
static void parent_ignoring(int flags) {
  struct sigaction action = {.sa_handler = SIG_IGN, .sa_flags = flags};
  sigaction(SIGCHLD, &action, 0);
  pid_t pid = fork();
  check(pid >= 0);
  if (pid == 0) _exit(3);
  while (process_state(pid)) victim_nap(1);
}

/* Zombies that lead, with members that live. */
static void parent_of_leaders(int codes) {
  (void)codes;
  corpse(1, LEADS_SESSION);
  corpse(2, LEADS_GROUP);
  pid_t leader = corpse(-SIGKILL, LEADS_GROUP);
  check(!setpgid(0, leader)); /* the group lives on with us */
}

static void verify_ignoring(void) {
  verify();
  int flags = me == 4 ? 0 : SA_NOCLDWAIT;
  struct sigaction action;
  check(!sigaction(SIGCHLD, 0, &action) && action.sa_handler == SIG_IGN && (action.sa_flags & SA_NOCLDWAIT) == flags);
}

/* A child still leaves no zombie. */
static void ignores(void) {
  pid_t pid = fork();
  check(pid >= 0);
  if (pid == 0) _exit(4);
  check(waitpid(pid, 0, 0) < 0);
  /* It is not to be waited for any more before it is gone. */
  for (int i = 0; i < 1000 && process_state(pid); i++) victim_nap(1);
  check(!process_state(pid));
}

/* A session whose leader is a zombie, with a member that is our child, by way of the leader's end. */
static void parent_of_session(int m) {
  check(!prctl(PR_SET_CHILD_SUBREAPER, 1));
  pid_t pid = fork();
  check(pid >= 0);
  if (pid == 0) {
    check(setsid() == getpid());
    pid_t leader = getpid();
    if (fork() == 0) {
      while (getppid() == leader) victim_nap(1);
      deaths = 0;
      family_born(m + 1);
      family_live(verify);
    }
    die(21);
  }
  family_await(m + 1, BORN);
  dead[0].pid = pid;
  dead[0].code = CLD_EXITED;
  dead[0].status = 21;
  dead[0].sid = dead[0].pgid = pid;
  strcpy(dead[0].name, "ends 21");
  deaths = live_children = 1;
}

static void member(int m, void (*be)(int), int argument, void (*verify_it)(void), void (*last)(void)) {
  pid_t pid = fork();
  check(pid >= 0);
  if (pid == 0) {
    be(argument);
    family_born(m);
    family_live_and(verify_it, last);
  }
  family_await(m, BORN);
}

int main(int argc, char **argv) {
  const char *which = argc > 1 ? argv[1] : "";
  bool leaders = !strcmp(which, "leaders");
  int codes = !strcmp(which, "codes") ? 255 : 4;
  family_found(leaders ? 9 : 6);
  member(1, parent_plain, codes, verify, bury_all);
  member(2, parent_blocked, 0, verify, bury_all);
  member(3, parent_catching, 0, verify, bury_all);
  member(4, parent_ignoring, 0, verify_ignoring, ignores);
  member(5, parent_ignoring, SA_NOCLDWAIT, verify_ignoring, ignores);
  if (leaders) {
    member(6, parent_of_leaders, 0, verify, bury_all);
    member(7, parent_of_session, 7, verify, bury_all);
  }
  live_children = leaders ? 7 : 5;
  family_born(0);
  family_live(verify);
}
