/*
 * Whose processes and threads are whose: children of somebody without a privilege, a program with the set-user-ID bit,
 * threads of one process that are different users, with capabilities and securebits of their own.
 */
#include "family.h"
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <pthread.h>
#include <sys/fsuid.h>

enum { ROOT, USER, USERS_CHILD, THREADED, SET_UID, COUNT };
enum { OTHERS = 4 };

#define BIT(cap) (1ull << (cap))

/* ---- what is compared ---- */

typedef struct {
  char ids[512];
  int secure, death, dumpable, ambient;
} Who;

static void look(Who *who) {
  static const char *keys[] = {"Uid:",    "Gid:",    "Groups:", "CapInh:",    "CapPrm:",
                               "CapEff:", "CapBnd:", "CapAmb:", "NoNewPrivs:"};
  char text[8192];
  int fd = open("/proc/thread-self/status", O_RDONLY | O_CLOEXEC);
  check(fd >= 0);
  ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  check(n > 0);
  text[n] = 0;
  memset(who, 0, sizeof *who);
  size_t at = 0;
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    char *line = strstr(text, keys[i]);
    check(line);
    at += snprintf(who->ids + at, sizeof who->ids - at, "%.*s; ", (int)strcspn(line, "\n"), line);
  }
  who->secure = prctl(PR_GET_SECUREBITS);
  who->dumpable = prctl(PR_GET_DUMPABLE);
  prctl(PR_GET_PDEATHSIG, &who->death);
}

static void same(const Who *was, const char *whose) {
  Who is;
  look(&is);
  check(!strcmp(was->ids, is.ids), "%s: %.120s, was %.120s", whose, is.ids, was->ids);
  check(was->secure == is.secure && was->death == is.death && was->dumpable == is.dumpable,
        "%s: %#x %d %d, was %#x %d %d", whose, is.secure, is.death, is.dumpable, was->secure, was->death, was->dumpable);
}

static Who own;
static void verify_own(void) { same(&own, "process"); }

static void be(int member) {
  family_born(member);
  look(&own);
  family_live(verify_own);
}

static void set_caps(uint64_t effective, uint64_t permitted, uint64_t inheritable) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  for (int i = 0; i < 2; i++)
    data[i] = (struct __user_cap_data_struct){effective >> 32 * i, permitted >> 32 * i, inheritable >> 32 * i};
  check(!syscall(SYS_capset, &header, data));
}

/* ---- a user, and a child of his ---- */

static void be_user(void) {
  gid_t groups[] = {70000, 3, 2000000000};
  check(!setgroups(3, groups) && !setresgid(2001, 2002, 2003));
  setfsgid(2002);
  check(!setresuid(1001, 1002, 1003));
  check(!prctl(PR_SET_PDEATHSIG, (long)SIGUSR2, 0l, 0l, 0l));
  if (!fork()) {
    check(!prctl(PR_SET_NO_NEW_PRIVS, 1l, 0l, 0l, 0l) && !prctl(PR_SET_DUMPABLE, 1l, 0l, 0l, 0l));
    check(!setresuid(1003, 1003, 1003));
    check(!prctl(PR_SET_PDEATHSIG, (long)SIGTERM, 0l, 0l, 0l));
    be(USERS_CHILD);
  }
  be(USER);
}

/* ---- threads that differ ---- */

static Who of_thread[OTHERS];
static _Atomic int ready, over;

/* The library would have all threads change; these do it alone. */
static void change(int number) {
  switch (number) {
    case 0:
      check(!syscall(SYS_setgroups, 0l, 0l) && !syscall(SYS_setresgid, 11, 12, 13) && !syscall(SYS_setresuid, 21, 22, 23));
      break;
    case 1:
      check(!prctl(PR_SET_SECUREBITS, (long)(SECBIT_NO_SETUID_FIXUP | SECBIT_KEEP_CAPS), 0l, 0l, 0l));
      check(!syscall(SYS_setresuid, 31, 31, 31));
      set_caps(BIT(CAP_KILL), BIT(CAP_KILL) | BIT(CAP_CHOWN), BIT(CAP_CHOWN) | BIT(CAP_FOWNER));
      check(!prctl(PR_CAP_AMBIENT, (long)PR_CAP_AMBIENT_RAISE, (long)CAP_CHOWN, 0l, 0l));
      break;
    case 2:
      for (int cap = 0; cap < 41; cap += 2) prctl(PR_CAPBSET_DROP, (long)cap, 0l, 0l, 0l);
      check(!prctl(PR_SET_NO_NEW_PRIVS, 1l, 0l, 0l, 0l));
      break;
    default:
      syscall(SYS_setfsuid, 41);
      syscall(SYS_setfsgid, 42);
  }
  check(!prctl(PR_SET_PDEATHSIG, number == 3 ? 0l : (long)(SIGRTMIN + number), 0l, 0l, 0l));
}

static void *other(void *argument) {
  int number = (int)(intptr_t)argument;
  change(number);
  ready++;
  while (ready <= OTHERS) victim_nap(1);
  look(&of_thread[number]);
  ready++;
  char name[20];
  snprintf(name, sizeof name, "thread %d", number);
  while (!over) {
    same(&of_thread[number], name);
    victim_nap(4);
  }
  same(&of_thread[number], name);
  return 0;
}

static pthread_t others[OTHERS];

static void end_others(void) {
  over = 1;
  for (int i = 0; i < OTHERS; i++) check(!pthread_join(others[i], 0));
}

static void be_threaded(void) {
  for (intptr_t i = 0; i < OTHERS; i++) check(!pthread_create(&others[i], 0, other, (void *)i));
  while (ready < OTHERS) victim_nap(1);
  check(!prctl(PR_SET_DUMPABLE, 1l, 0l, 0l, 0l));
  ready++;
  while (ready < 2 * OTHERS + 1) victim_nap(1);
  family_born(THREADED);
  look(&own);
  family_live_and(verify_own, end_others);
}

/* ---- a program with the set-user-ID bit ---- */

/* A copy of this program that belongs to somebody else, executed by a user who has no way to it but a descriptor. */
static void be_set_uid(void) {
  static char text[1 << 20];
  int from = open("/proc/self/exe", O_RDONLY), to = open("set-uid", O_RDWR | O_CREAT | O_TRUNC, 0755);
  check(from >= 0 && to >= 0);
  for (ssize_t n; (n = read(from, text, sizeof text)) > 0;) check(write(to, text, n) == n);
  check(!fchown(to, 1005, 1006) && !fchmod(to, 06755) && !close(from) && !close(to));
  int memory = open("family", O_RDWR), program = open("set-uid", O_RDONLY | O_CLOEXEC);
  check(memory >= 0 && program >= 0);
  char number[12];
  snprintf(number, sizeof number, "%d", memory);
  check(!setgroups(0, 0) && !setresgid(1001, 1001, 1001) && !setresuid(1001, 1001, 1001));
  char *argv[] = {"set-uid", number, 0}, *environment[] = {getenv("STASIS_TEST") ? getenv("STASIS_TEST") - 12 : 0, 0};
  syscall(SYS_execveat, program, "", argv, environment, 0x1000 /* AT_EMPTY_PATH */);
  fail("execveat: %d", errno);
}

static void go_on_set_uid(int memory) {
  family = mmap(0, sizeof(Family), PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  check(family != MAP_FAILED && !close(memory));
  uid_t real, effective, saved;
  check(!getresuid(&real, &effective, &saved) && real == 1001 && effective == 1005 && saved == 1005);
  be(SET_UID);
}

int main(int argc, char **argv) {
  if (argc > 1) go_on_set_uid(atoi(argv[1]));
  family_found(COUNT);
  check(!signal(SIGUSR2, SIG_IGN));
  if (!fork()) be_user();
  if (!fork()) be_threaded();
  if (!fork()) be_set_uid();
  be(ROOT);
}
