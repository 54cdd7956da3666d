/*
 * Locks in a family: POSIX locks of several processes on one file, one of a process that shares another's descriptors,
 * one that a process is waiting for; locks of open files that are inherited; a lease another process is told the
 * breaking of.
 */
#include "family.h"
#include <sys/file.h>

static int file, flocked, leased;
static volatile sig_atomic_t told;

static int lock(int command, short type, off_t at) {
  struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 10};
  return fcntl(file, command, &l);
}

/* Whose lock is in the way there, 0 if none is; -1 for one of an open file. */
static int holder(off_t at) {
  struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 10};
  check(!fcntl(file, F_GETLK, &l));
  return l.l_type == F_UNLCK ? 0 : l.l_pid;
}

static void on_break(int signal) {
  (void)signal;
  told++;
}

static void verify(void) {
  int first = holder(0);
  check(first == (me == 0 || me == 3 ? 0 : pid_of(0)) || family_asked(), "member %d: %d", me, first);
  check(holder(10) == (me == 1 ? 0 : pid_of(1)), "member %d: %d", me, holder(10));
  check(holder(20) == (me == 0 || me == 3 ? 0 : pid_of(3)), "member %d: %d, not %d", me, holder(20), pid_of(3));
  check(holder(30) == -1, "member %d: %d", me, holder(30));
  check(holder(40) == 0);
  check(me != 0 || told == 1, "told %d times", told);
  check(me != 1 || fcntl(leased, F_GETLEASE) == F_UNLCK);
  int other = open("flocked", O_RDWR | O_CLOEXEC);
  check(other >= 0 && flock(other, LOCK_EX | LOCK_NB) == -1 && errno == EWOULDBLOCK);
  check(!flock(other, LOCK_SH | LOCK_NB) && !close(other));
}

/* What the waiting one waits for. */
static void give_way(void) {
  if (me == 0) check(!lock(F_SETLK, F_UNLCK, 0));
}

static void wait_for_lock(void) {
  family_born(2);
  family->member[2].quiet = SILENT;
  family_settle();
  check(!lock(F_SETLKW, F_WRLCK, 0));
  check(atomic_load(&family->asked));
  family_part();
}

int main(void) {
  family_found(4);
  check(signal(SIGIO, on_break) != SIG_ERR);
  file = open("file", O_RDWR | O_CREAT, 0600);
  flocked = open("flocked", O_RDWR | O_CREAT, 0600);
  leased = open("leased", O_RDWR | O_CREAT, 0600);
  check(file >= 0 && flocked >= 0 && leased >= 0);
  check(!flock(flocked, LOCK_SH) && !lock(F_SETLK, F_WRLCK, 0));
  /* Of an open file nobody else has. */
  int own = open("file", O_RDWR);
  struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 30, .l_len = 10};
  check(own >= 0 && !fcntl(own, F_OFD_SETLK, &l));
  check(!fcntl(leased, F_SETLEASE, F_WRLCK));
  check(open("leased", O_WRONLY | O_NONBLOCK) == -1 && errno == EWOULDBLOCK);
  if (!fork()) {
    check(!lock(F_SETLK, F_RDLCK, 10));
    family_born(1);
    family_live(verify);
  }
  if (!fork()) wait_for_lock();
  if (!syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0l, 0l, 0l, 0l)) {
    check(!lock(F_SETLK, F_WRLCK, 20));
    family_born(3);
    family_live(verify);
  }
  for (int i = 1; i < 4; i++) family_await(i, BORN);
  check(!close(leased));
  family_born(0);
  family_live_and(verify, give_way);
}
