/* Credentials: users, groups, capabilities, securebits, no_new_privs, dumpable. How they are chosen is an argument. */
#include "victim.h"
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <signal.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>

static const char *keys[] = {"Uid:",    "Gid:",    "Groups:", "CapInh:",      "CapPrm:",
                             "CapEff:", "CapBnd:", "CapAmb:", "NoNewPrivs:"};
#define KEYS (sizeof keys / sizeof *keys)
static char was[KEYS][512];
static int bits, dumpable;

static void verify(void) {
  for (size_t i = 0; i < KEYS; i++) {
    const char *is = status_line(keys[i]);
    check(!strcmp(is, was[i]), "%s is %s, was %s", keys[i], is, was[i]);
  }
  check(prctl(PR_GET_SECUREBITS) == bits);
  check(prctl(PR_GET_DUMPABLE) == dumpable, "%d", prctl(PR_GET_DUMPABLE));
}

static void set_caps(uint64_t effective, uint64_t permitted, uint64_t inheritable) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  for (int i = 0; i < 2; i++)
    data[i] = (struct __user_cap_data_struct){effective >> 32 * i, permitted >> 32 * i, inheritable >> 32 * i};
  check(!syscall(SYS_capset, &header, data));
}

#define BIT(cap) (1ull << (cap))

/* Another user in every one of the eight ids, without a capability. */
static void as_user(void) {
  gid_t groups[] = {7, 70000, 3, 2000000000, 4};
  check(!setgroups(5, groups) && !setresgid(2001, 2002, 2003));
  setfsgid(2004);
  check(!setresuid(1001, 0, 1003));
  setfsuid(1004);
}

/* A user with some capabilities of each kind; one inheritable that is no longer in the bounding set. */
static void with_caps(void) {
  check(!prctl(PR_SET_SECUREBITS, (long)SECBIT_NO_SETUID_FIXUP, 0l, 0l, 0l));
  check(!setgroups(0, 0) && !setresgid(12, 12, 12) && !setresuid(1234, 1234, 1234));
  uint64_t permitted = BIT(CAP_NET_ADMIN) | BIT(CAP_CHOWN) | BIT(CAP_SETPCAP) | BIT(CAP_SYS_TIME) | BIT(38);
  set_caps(permitted, permitted, BIT(CAP_NET_ADMIN) | BIT(CAP_CHOWN) | BIT(CAP_KILL));
  check(!prctl(PR_CAP_AMBIENT, (long)PR_CAP_AMBIENT_RAISE, (long)CAP_CHOWN, 0l, 0l));
  for (int cap = 0; cap < 41; cap += 3) prctl(PR_CAPBSET_DROP, (long)cap, 0l, 0l, 0l);
  check(!prctl(PR_CAPBSET_DROP, (long)CAP_KILL, 0l, 0l, 0l));
  check(!prctl(PR_SET_SECUREBITS, (long)(SECBIT_KEEP_CAPS | SECBIT_NOROOT | SECBIT_NO_CAP_AMBIENT_RAISE), 0l, 0l, 0l));
  set_caps(BIT(CAP_CHOWN), BIT(CAP_CHOWN) | BIT(CAP_SYS_TIME), BIT(CAP_NET_ADMIN) | BIT(CAP_CHOWN) | BIT(CAP_KILL));
}

/* Root in name only: nothing can be gained any more. */
static void locked(void) {
  check(!prctl(PR_SET_SECUREBITS, (long)(SECURE_ALL_BITS & ~(SECBIT_KEEP_CAPS)) | SECURE_ALL_LOCKS, 0l, 0l, 0l));
  set_caps(0, BIT(CAP_SYS_NICE), 0);
  check(!prctl(PR_SET_NO_NEW_PRIVS, 1l, 0l, 0l, 0l));
}

int main(int argc, char **argv) {
  const char *how = argc > 1 ? argv[1] : "user";
  if (!strcmp(how, "user")) as_user();
  else if (!strcmp(how, "caps")) with_caps();
  else if (!strcmp(how, "locked")) locked();
  else fail("how?");
  if (!strcmp(how, "caps")) check(!prctl(PR_SET_DUMPABLE, 0l, 0l, 0l, 0l));
  if (!strcmp(how, "user")) check(!prctl(PR_SET_DUMPABLE, 1l, 0l, 0l, 0l));
  for (size_t i = 0; i < KEYS; i++) strcpy(was[i], status_line(keys[i]));
  bits = prctl(PR_GET_SECUREBITS);
  dumpable = prctl(PR_GET_DUMPABLE);
  victim_ready();
  victim_loop(verify);
}
