/*
 * The kit of a victim that is many processes. They meet in the file "family" of their directory, mapped shared, where
 * the tests look too: a page about all of them, then a slot for each member, whose first word counts its turns.
 *
 *     int main(void) {
 *       family_found(3);              // this process is member 0
 *       if (!fork()) be(1);           // be() ends in family_live()
 *       …
 *       family_live(verify);
 *     }
 *
 * Each member keeps verifying, itself and that another one goes on, until member 0 is asked for the verdict.
 */
#ifndef FAMILY_H
#define FAMILY_H

#include "victim.h"
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define MEMBERS 2048

typedef struct {
  _Atomic uint64_t beats; /* its turns */
  _Atomic int32_t pid;
  _Atomic int32_t stage; /* BORN, SETTLED, DONE */
  int32_t ppid, sid, pgid, death;
  _Atomic int32_t quiet; /* does not beat: STOPPING, which READY waits for; or SILENT */
  int32_t spare[7];
} Member;
_Static_assert(sizeof(Member) == 64, "the tests know the size");

enum { BORN = 1, SETTLED, DONE };
enum { STOPPING = 1, SILENT };

typedef struct {
  int32_t count;
  _Atomic int32_t settle, asked, spare;
  Gone gone;
  union {
    char page[4096 - 32];
    _Atomic int32_t word[64]; /* for what a victim likes */
  };
  Member member[MEMBERS];
} Family;
_Static_assert(offsetof(Family, member) == 4096, "the tests know the place");

__attribute__((unused)) static Family *family;
/* Which member this process is. */
__attribute__((unused)) static int me;

__attribute__((unused)) static long futex(_Atomic int32_t *word, int operation, int32_t value,
                                          const struct timespec *limit) {
  return syscall(SYS_futex, word, operation, value, limit, 0l, 0l);
}

/* Sets a word that others wait for. */
__attribute__((unused)) static void tell(_Atomic int32_t *word, int32_t value) {
  atomic_store(word, value);
  futex(word, FUTEX_WAKE, INT_MAX, 0);
}

/* Waits until a word is at least `value`. */
__attribute__((unused)) static void await(_Atomic int32_t *word, int32_t value) {
  for (int32_t is; (is = atomic_load(word)) < value;) futex(word, FUTEX_WAIT, is, 0);
}

/* The family of `count` members, and this process as the first. */
__attribute__((unused)) static void family_found(int count) {
  check(count <= MEMBERS);
  int fd = open("family", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  check(fd >= 0 && !ftruncate(fd, sizeof(Family)));
  family = mmap(0, sizeof(Family), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  check(family != MAP_FAILED && !close(fd));
  family->count = count;
}

__attribute__((unused)) static pid_t pid_of(int member) { return atomic_load(&family->member[member].pid); }

/* Waits until a member has come as far as a stage. */
__attribute__((unused)) static void family_await(int member, int stage) { await(&family->member[member].stage, stage); }

static void family_nap(void) { victim_nap(4 + family->count / 8); }

static bool family_asked(void) {
  if (me == 0 && !atomic_load(&family->asked) && victim_asked()) {
    family->gone = victim_gone;
    tell(&family->asked, 1);
  }
  return atomic_load(&family->asked);
}

/* Says that this process has taken its place; its relations are as they will be when all have said so. */
__attribute__((unused)) static void family_born(int member) {
  me = member;
  atomic_store(&family->member[me].pid, getpid());
  tell(&family->member[me].stage, BORN);
}

/* The field of /proc/PID/stat that tells what the process does: R, S, T, Z…; 0 if it is not there. */
__attribute__((unused)) static char process_state(pid_t pid) {
  char path[40], text[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  if (n <= 0) return 0;
  text[n] = 0;
  char *at = strrchr(text, ')');
  return at ? at[2] : 0;
}

/* Notes who this process is. The first member says READY when all have, and those that will be stopped are. */
__attribute__((unused)) static void family_settle(void) {
  if (me == 0) {
    for (int i = 1; i < family->count; i++) family_await(i, BORN);
    tell(&family->settle, 1);
  }
  await(&family->settle, 1);
  Member *own = &family->member[me];
  own->ppid = getppid();
  own->sid = getsid(0);
  own->pgid = getpgrp();
  check(!prctl(PR_GET_PDEATHSIG, &own->death));
  tell(&own->stage, SETTLED);
  if (me == 0) {
    for (int i = 1; i < family->count; i++) family_await(i, SETTLED);
    for (int i = 1; i < family->count; i++)
      while (family->member[i].quiet == STOPPING && process_state(pid_of(i)) != 'T') victim_nap(1);
    tell(&family->settle, 2);
    victim_ready();
  } else if (own->quiet != STOPPING) {
    await(&family->settle, 2);
  }
}

__attribute__((unused)) static void verify_identity(void) {
  const Member *own = &family->member[me];
  check(getpid() == own->pid && syscall(SYS_gettid) == own->pid, "is %d, was %d", getpid(), own->pid);
  /* The parent of the first is outside. */
  if (me != 0) check(getppid() == own->ppid, "member %d: the parent is %d, was %d", me, getppid(), own->ppid);
  check(getsid(0) == own->sid, "member %d: the session is %d, was %d", me, getsid(0), own->sid);
  check(getpgrp() == own->pgid, "member %d: the group is %d, was %d", me, getpgrp(), own->pgid);
  int death;
  check(!prctl(PR_GET_PDEATHSIG, &death) && (death == own->death || me == 0), "%d, was %d", death, own->death);
}

/* Counts a turn, and looks whether the next member does so. */
static void family_beat(void) {
  static uint64_t seen, since;
  Member *own = &family->member[me], *next = &family->member[(me + 1) % family->count];
  uint64_t turns = ++own->beats, others = next->beats;
  if (others != seen || next->quiet || family_asked()) {
    seen = others;
    since = turns;
  }
  check(turns - since < 3000, "member %d does not go on: %lu turns of member %d", (me + 1) % family->count,
        turns - since, me);
}

/* The children of this thread that /proc lists, zombies as well; how many there are. */
__attribute__((unused)) static int children_of_self(pid_t *list, int room) {
  static char text[1 << 16];
  slurp("/proc/thread-self/children", text, sizeof text);
  int count = 0;
  for (char *at = text, *end; count < room; at = end, count++) {
    list[count] = strtol(at, &end, 10);
    if (end == at) break;
  }
  return count;
}

/* All children must end with exit code 0. */
static void family_bury(void) {
  int status;
  for (pid_t pid; (pid = waitpid(-1, &status, 0)) > 0;)
    check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child %d of member %d ended with %#x", pid, me, status);
  int why = errno;
  check(why == ECHILD);
}

/* This member is content: waits until all are, then for its children, and ends. */
__attribute__((noreturn)) static void family_part(void) {
  tell(&family->member[me].stage, DONE);
  for (int i = 0; i < family->count; i++) family_await(i, DONE);
  family_bury();
  if (me == 0) victim_pass();
  _exit(0);
}

/* Verifies until asked, and once more; `last`, if any, is verified at the end only. */
__attribute__((unused, noreturn)) static void family_live_and(void (*verify)(void), void (*last)(void)) {
  family_settle();
  while (!family_asked()) {
    verify_identity();
    verify();
    family_beat();
    family_nap();
  }
  verify_identity();
  verify();
  if (last) last();
  family_part();
}

__attribute__((unused, noreturn)) static void family_live(void (*verify)(void)) { family_live_and(verify, 0); }

#endif
