/*
 * Time namespaces: the victim is in one and its children are to be born into another, where one child is; another one
 * was born before and is in that of the victim; a third has left for one of its own; a fourth is to have its children
 * elsewhere, has none, and is the only one in its namespace.
 */
#include "family.h"
#include <sched.h>

enum { COUNT = 5 };
#define DAY 86400ll
/* What each member's clock is ahead of that of member 1, in days; monotonic, and twice that for boottime. */
static const int DAYS[COUNT] = {10, 30, 10, 50, 70};

static int64_t now_ns(clockid_t clock) {
  struct timespec t;
  check(!clock_gettime(clock, &t));
  return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static char own[64], children[64];

static void links(void) {
  check(readlink("/proc/self/ns/time", own, sizeof own - 1) > 0);
  check(readlink("/proc/self/ns/time_for_children", children, sizeof children - 1) > 0);
}

/* Each notes its clocks when it looks; members look one after the other, so differences are those of the namespaces. */
static _Atomic int64_t *shown;

static void verify(void) {
  int64_t monotonic = now_ns(CLOCK_MONOTONIC), boottime = now_ns(CLOCK_BOOTTIME);
  static int64_t before[2];
  check(monotonic >= before[0] && boottime >= before[1], "member %d: a clock went back", me);
  before[0] = monotonic;
  before[1] = boottime;
  /* Member 0 says what time it is; the others compare, within what a busy machine may need. */
  if (me == 0) {
    atomic_store(&shown[0], monotonic);
    atomic_store(&shown[1], boottime);
  } else if (atomic_load(&family->settle) == 2) {
    int64_t other = atomic_load(&shown[0]), ahead = monotonic - other - (DAYS[me] - DAYS[0]) * DAY * 1000000000ll;
    check(ahead > -1000000000ll && ahead < 20000000000ll, "member %d: monotonic is %ld ns ahead", me, (long)ahead);
    other = atomic_load(&shown[1]);
    ahead = boottime - other - 2 * (DAYS[me] - DAYS[0]) * DAY * 1000000000ll;
    check(ahead > -1000000000ll && ahead < 20000000000ll, "member %d: boottime is %ld ns ahead", me, (long)ahead);
  }
  char mine[64] = "", kids[64] = "";
  check(readlink("/proc/self/ns/time", mine, sizeof mine - 1) > 0);
  check(readlink("/proc/self/ns/time_for_children", kids, sizeof kids - 1) > 0);
  check(!strcmp(mine, kids) == !strcmp(own, children), "member %d: %s, %s", me, mine, kids);
  if (me == 0) {
    char path[64], theirs[64] = "";
    snprintf(path, sizeof path, "/proc/%d/ns/time", pid_of(1));
    check(readlink(path, theirs, sizeof theirs - 1) > 0 && !strcmp(theirs, kids), "%s, %s", theirs, kids);
    snprintf(path, sizeof path, "/proc/%d/ns/time", pid_of(2));
    check(readlink(path, theirs, sizeof theirs - 1) > 0 && !memcmp(theirs, mine, strlen(mine)), "%s, %s", theirs, mine);
  }
}

/* The children of this process are to be born into a new namespace. */
static void children_at(int days) {
  if (unshare(CLONE_NEWTIME)) skip("no time namespace can be made");
  char text[100];
  snprintf(text, sizeof text, "monotonic %lld 0\nboottime %lld 0\n", days * DAY, 2 * days * DAY);
  int fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
  check(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && !close(fd));
}

static void enter(int days) {
  children_at(days);
  int fd = open("/proc/self/ns/time_for_children", O_RDONLY | O_CLOEXEC);
  check(fd >= 0 && !setns(fd, CLONE_NEWTIME) && !close(fd));
}

static void child(int member) {
  if (fork()) return;
  if (member >= 3) enter(DAYS[member]);
  if (member == 4) children_at(90);
  family_born(member);
  links();
  family_live(verify);
}

int main(void) {
  family_found(COUNT);
  shown = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  enter(DAYS[0]);
  atomic_store(&shown[0], now_ns(CLOCK_MONOTONIC));
  atomic_store(&shown[1], now_ns(CLOCK_BOOTTIME));
  child(2);
  child(3);
  child(4);
  children_at(DAYS[1]);
  child(1);
  family_born(0);
  links();
  family_live(verify);
}
