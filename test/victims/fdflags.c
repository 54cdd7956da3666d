/*
 * Flags of descriptors (FD_CLOEXEC) that a process and its children have each of their own, for open files that they
 * have in common: more of them than one program of Stasis has calls.
 */
#include "family.h"
#include <sys/resource.h>

#define MANY 1500

static int first;

/* Each member has it on other descriptors. */
static int flag_of(int i) { return i % (me + 2) == 0 ? FD_CLOEXEC : 0; }

static void set_flags(void) {
  for (int i = 0; i < MANY; i++) check(!fcntl(first + i, F_SETFD, flag_of(i)));
}

static void verify(void) {
  for (int i = 0; i < MANY; i++) check(fcntl(first + i, F_GETFD) == flag_of(i), "member %d: descriptor %d", me, i);
}

static void be(int member) {
  me = member;
  set_flags();
  family_born(member);
  family_live(verify);
}

int main(void) {
  family_found(3);
  struct rlimit limit;
  check(!getrlimit(RLIMIT_NOFILE, &limit));
  limit.rlim_cur = limit.rlim_max;
  if (limit.rlim_max < MANY + 100 || setrlimit(RLIMIT_NOFILE, &limit)) skip("too few descriptors are allowed");
  int file = open("file", O_RDWR | O_CREAT, 0600);
  check(file >= 0);
  first = fcntl(file, F_DUPFD, 50);
  check(first == 50);
  for (int i = 1; i < MANY; i++) check(fcntl(file, F_DUPFD, 50) == first + i);
  if (!fork()) {
    if (!fork()) be(2);
    be(1);
  }
  be(0);
}
