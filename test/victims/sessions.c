/*
 * Sessions and groups as programs leave them: leaders that are gone or have moved, children older than their parent's
 * session, orphans taken in by a subreaper.
 *
 *     sessions [SCENE…]    by default all of them
 */
#include "family.h"

/* The flag that makes orphans our children, and whether it does. */
static bool reaper;

static void verify(void) {
  int is;
  check(!prctl(PR_GET_CHILD_SUBREAPER, &is) && is == reaper, "member %d: %d", me, is);
}

/* A grandchild whose parent ends becomes a child. */
static void adopts(void) {
  if (!reaper) return;
  pid_t self = getpid(), child = fork();
  check(child >= 0);
  if (child == 0) {
    pid_t parent = getpid();
    if (fork() == 0) {
      while (getppid() == parent) victim_nap(1);
      _exit(getppid() == self ? 0 : 3);
    }
    _exit(0);
  }
  /* No member ends before all have come here. */
  for (int i = 0; i < 2; i++) {
    int status;
    check(waitpid(-1, &status, 0) > 0 && status == 0, "member %d: %#x", me, status);
  }
}

static void live(int member) {
  family_born(member);
  family_live_and(verify, adopts);
}

/* A child that lives on as a member; answers in the parent. */
static pid_t bear(int member) {
  pid_t pid = fork();
  check(pid >= 0);
  if (pid == 0) {
    reaper = false;
    live(member);
  }
  family_await(member, BORN);
  return pid;
}

static void become_reaper(void) {
  check(!prctl(PR_SET_CHILD_SUBREAPER, 1));
  reaper = true;
}

/* Runs something in a child that ends then, and waits for its end. */
static void passing(void (*work)(int), int member) {
  pid_t pid = fork();
  check(pid >= 0);
  if (pid == 0) {
    reaper = false;
    work(member);
    _exit(0);
  }
  int status;
  check(waitpid(pid, &status, 0) == pid && status == 0, "%#x", status);
}

/* Runs something in a child that lives on as a member. */
static void staying(void (*work)(int), int member) {
  pid_t pid = fork();
  check(pid >= 0);
  if (pid == 0) {
    reaper = false;
    work(member);
    live(member);
  }
  family_await(member, BORN);
}

/* ---- scenes; each gets the numbers of its members from `m` on ---- */

/* The leader of the session is gone; one member leads a group in it. */
static void leaderless_inside(int m) {
  check(setsid() == getpid());
  bear(m);
  pid_t other = bear(m + 1);
  check(!setpgid(other, other));
}
static void leaderless(int m) { passing(leaderless_inside, m); }

/* The leader of the group is gone, in our session. */
static void groupless_inside(int m) {
  check(!setpgid(0, 0));
  bear(m);
  bear(m + 1);
}
static void groupless(int m) { passing(groupless_inside, m); }

/* The leader of the group has moved to ours; the group has a member of another branch. */
static void moved_inside(int m) {
  check(!setpgid(0, 0));
  bear(m + 1);
  check(!setpgid(0, getpgid(getppid())));
}
static void moved(int m) {
  staying(moved_inside, m);
  pid_t other = bear(m + 2);
  check(!setpgid(other, pid_of(m)));
}

/* A child that was there before the session. */
static void older_inside(int m) {
  bear(m + 1);
  check(setsid() == getpid());
  bear(m + 2);
}
static void older(int m) { staying(older_inside, m); }

/* The same three deep: the last is in the session of the first ancestor. */
static void oldest_innermost(int m) {
  bear(m + 1);
  check(setsid() == getpid());
}
static void oldest_inner(int m) {
  staying(oldest_innermost, m + 1);
  check(setsid() == getpid());
}
static void oldest(int m) {
  staying(oldest_inner, m);
}

/* A session with groups across its branches. */
static void crossed_inner(int m) {
  check(!setpgid(0, 0));
  pid_t child = bear(m + 1);
  check(!setpgid(child, getsid(0)));
}
static void crossed_inside(int m) {
  check(setsid() == getpid());
  staying(crossed_inner, m + 1);
}
static void crossed(int m) { staying(crossed_inside, m); }

/* Orphans with a subreaper on the way up, which is an orphan of a subreaper itself. */
static void nested_orphan(int m) {
  check(!setpgid(0, 0));
  bear(m);
}
static void nested_innermost(int m) {
  become_reaper();
  passing(nested_orphan, m + 1);
}
static void nested_middle(int m) { staying(nested_innermost, m); }
static void nested_inside(int m) {
  become_reaper();
  check(setsid() == getpid());
  passing(nested_middle, m + 1);
}
static void nested(int m) { staying(nested_inside, m); }

/* A daemon, by the book, with a worker. */
static void daemon_inner(int m) {
  check(!chdir("/"));
  umask(027);
  bear(m + 1);
}
static void daemon_inside(int m) {
  check(setsid() == getpid());
  staying(daemon_inner, m);
}
static void daemon_scene(int m) { passing(daemon_inside, m); }

/* Members of one session below two that never were in it: the one was below the other when its leader lived. */
/* The numbers count from that of the lower one. */
static void apart_orphan(int m) { bear(m + 2); }
static void apart_leader(int m) {
  check(setsid() == getpid());
  pid_t pid = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0l, 0l, 0l, 0l);
  check(pid >= 0);
  if (pid == 0) live(m + 1);
  family_await(m + 1, BORN);
  passing(apart_orphan, m);
}
static void apart_low(int m) { passing(apart_leader, m); }
static void apart_between(int m) {
  staying(apart_low, m);
  tell(&family->word[0], 1);
  await(&family->word[0], 2);
  _exit(0);
}
static void apart_high(int m) {
  become_reaper();
  pid_t pid = fork();
  check(pid >= 0);
  if (pid == 0) {
    reaper = false;
    apart_between(m + 1);
  }
  await(&family->word[0], 1);
  check(!prctl(PR_SET_CHILD_SUBREAPER, 0));
  reaper = false;
  tell(&family->word[0], 2);
  check(waitpid(pid, 0, 0) == pid);
}
static void apart(int m) { staying(apart_high, m); }

/*
 * Members of one session, whose leader is gone, below three that never were in it: each of these was below the one
 * before when the leader lived. The numbers count from that of the highest.
 */
static void stacked_orphan(int member) { bear(member); }
static void stacked_leader(int m) {
  check(setsid() == getpid());
  pid_t pid = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0l, 0l, 0l, 0l);
  check(pid >= 0);
  if (pid == 0) live(m + 3);
  family_await(m + 3, BORN);
  passing(stacked_orphan, m + 4); /* comes to the one in the middle */
  tell(&family->word[1], 1);
  await(&family->word[1], 2);
  passing(stacked_orphan, m + 5); /* comes to the highest */
}
static void stacked_low(int member) { passing(stacked_leader, member - 2); }
static void stacked_middle(int member) {
  become_reaper();
  pid_t pid = fork();
  check(pid >= 0);
  if (pid == 0) {
    reaper = false;
    staying(stacked_low, member + 1);
    tell(&family->word[2], 1);
    await(&family->word[2], 2);
    _exit(0);
  }
  await(&family->word[1], 1);
  check(!prctl(PR_SET_CHILD_SUBREAPER, 0));
  reaper = false;
  tell(&family->word[1], 2);
  check(waitpid(pid, 0, 0) == pid);
}
static void stacked_high(int member) {
  become_reaper();
  pid_t pid = fork();
  check(pid >= 0);
  if (pid == 0) {
    reaper = false;
    staying(stacked_middle, member + 1);
    _exit(0);
  }
  await(&family->word[2], 1);
  check(!prctl(PR_SET_CHILD_SUBREAPER, 0));
  reaper = false;
  tell(&family->word[2], 2);
  check(waitpid(pid, 0, 0) == pid);
}
static void stacked(int m) { staying(stacked_high, m); }

static const struct {
  const char *name;
  void (*play)(int member);
  int members;
} scenes[] = {{"leaderless", leaderless, 2}, {"groupless", groupless, 2}, {"moved", moved, 3},
              {"older", older, 3},           {"oldest", oldest, 3},       {"crossed", crossed, 3},
              {"nested", nested, 3},         {"daemon", daemon_scene, 2},
              {"apart", apart, 4},           {"stacked", stacked, 6}};

static bool chosen(int argc, char **argv, const char *name) {
  for (int i = 1; i < argc; i++)
    if (!strcmp(argv[i], name)) return true;
  return argc < 2;
}

int main(int argc, char **argv) {
  int members = 1;
  for (size_t i = 0; i < sizeof scenes / sizeof *scenes; i++)
    if (chosen(argc, argv, scenes[i].name)) members += scenes[i].members;
  family_found(members);
  become_reaper();
  for (size_t i = 0, m = 1; i < sizeof scenes / sizeof *scenes; i++) {
    if (!chosen(argc, argv, scenes[i].name)) continue;
    scenes[i].play(m);
    m += scenes[i].members;
  }
  live(0);
}
