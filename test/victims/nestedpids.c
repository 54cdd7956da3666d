/*
 * One tree in several PID namespaces. Each member goes on checking the numbers that it knows: its own, its parent's,
 * its session's and its group's. The namespaces are A, that of member 0; B in it, and C in B.
 *
 *   0  A          1  B, its init, leads a session      6  B, a child of 0, which has asked for B by setns(2)
 *   2  B, a child of 1; its next children are to be in C
 *   3  B, an orphan, in a session and a group whose leader is gone
 *   4  C, its init, a child of 2, in the session of 1, which has no number there; it has a zombie
 *   5  C, a child of 4 that leads a group, with a thread
 *   7  A, whose next child is to be the init of another namespace
 */
#include "family.h"
#include <pthread.h>

enum { SESSION_GONE = 1, READY_2, READY_3, READY_4 };

static pid_t zombie;
static pid_t thread_id;
static _Atomic bool thread_wrong;

static pid_t tid(void) { return syscall(SYS_gettid); }

static void *thread(void *_) {
  (void)_;
  pid_t own = tid();
  thread_id = own;
  for (;;) {
    if (tid() != own) thread_wrong = true;
    victim_nap(3);
  }
  return 0;
}

static pid_t born_in(int flags) {
  pid_t child = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
  check(child >= 0);
  return child;
}

static void verify(void) {
  check(!thread_wrong, "the thread of member %d has another number", me);
  check(me != 5 || thread_id > 0);
  /* Who made them is further out. */
  if (me == 1 || me == 6 || me == 4) check(getppid() == 0, "member %d sees its parent, %d", me, getppid());
  if (me == 1 || me == 4) check(getpid() == 1);
  if (me == 4) check(getsid(0) == 0, "member 4 sees the session %d", getsid(0));
  if (me == 3) check(getppid() == 1 && getsid(0) != getpid());
}

/* The number that a new child has itself. */
static int number_of_child(void) {
  pid_t child = fork();
  check(child >= 0);
  int status;
  if (child == 0) _exit(getpid() < 100 ? getpid() : 100);
  check(waitpid(child, &status, 0) == child && WIFEXITED(status));
  return WEXITSTATUS(status);
}

static void last(void) {
  int status;
  if (me == 4) {
    check(waitpid(zombie, &status, 0) == zombie && WIFEXITED(status) && WEXITSTATUS(status) == 7, "the zombie");
  }
  if (me == 2) check(number_of_child() > 1, "the child of 2 is an init");
  if (me == 7) check(number_of_child() == 1, "the child of 7 is no init");
  if (me == 5) {
    /* Signals find whom they are sent to by the numbers inside. */
    check(!kill(1, 0) && kill(4000, 0));
  }
}

__attribute__((noreturn)) static void live(int member) {
  family_born(member);
  family_settle();
  while (!family_asked()) {
    verify_identity();
    verify();
    family_beat();
    family_nap();
  }
  verify_identity();
  verify();
  last();
  tell(&family->member[me].stage, DONE);
  for (int i = 0; i < family->count; i++) family_await(i, DONE);
  /* With an init all others of its namespace end. */
  if (me == 1) victim_nap(300);
  family_bury();
  if (me == 0) victim_pass();
  _exit(0);
}

static void four(void) {
  zombie = fork();
  check(zombie >= 0);
  if (zombie == 0) _exit(7);
  siginfo_t info;
  check(!waitid(P_PID, zombie, &info, WEXITED | WNOWAIT));
  pid_t child = fork();
  check(child >= 0);
  if (child == 0) {
    check(!setpgid(0, 0));
    pthread_t it;
    check(!pthread_create(&it, 0, thread, 0));
    while (thread_id == 0) victim_nap(1);
    live(5);
  }
  live(4);
}

static void one(void) {
  check(setsid() == 1);
  if (!fork()) {
    check(!unshare(CLONE_NEWPID));
    if (!fork()) four();
    live(2);
  }
  pid_t gone = fork();
  if (gone == 0) {
    check(setsid() > 0);
    if (!fork()) {
      await(&family->word[SESSION_GONE], 1);
      live(3);
    }
    _exit(0);
  }
  check(waitpid(gone, 0, 0) == gone);
  tell(&family->word[SESSION_GONE], 1);
  live(1);
}

int main(void) {
  family_found(8);
  int own = syscall(SYS_pidfd_open, getpid(), 0);
  if (own < 0) skip("no pidfd");
  pid_t first = syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);
  if (first < 0) skip("no right to make a PID namespace");
  if (first == 0) {
    close(own);
    one();
  }
  family_await(1, BORN);
  int inner = syscall(SYS_pidfd_open, first, 0);
  check(inner >= 0 && !setns(inner, CLONE_NEWPID));
  if (!born_in(0)) {
    close(own);
    close(inner);
    live(6);
  }
  check(!setns(own, CLONE_NEWPID) && !close(own) && !close(inner));
  if (!fork()) {
    check(!unshare(CLONE_NEWPID));
    live(7);
  }
  live(0);
}
