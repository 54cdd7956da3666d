/*
 * Files of /proc that show what is in the namespaces of whoever has opened them: the victim holds some open, and checks
 * that they say what they have said.
 *
 *   procview          in the namespaces that it is in
 *   procview nested   in a user namespace of its own below that
 */
#include "victim.h"
#include <sched.h>
#include <sys/ipc.h>
#include <sys/msg.h>

static const char *const NAMES[] = {
    "/proc/self/uid_map",       "/proc/self/gid_map",       "/proc/sysvipc/msg",
    "/proc/sys/kernel/msgmax",  "/proc/sys/kernel/shm_rmid_forced",
    "/proc/sys/net/ipv4/ip_forward", "/proc/self/mountinfo",
};
enum { COUNT = sizeof NAMES / sizeof *NAMES, MOST = 200 };
static int held[COUNT];
static char said[COUNT][MOST];

static void put(const char *path, const char *text) {
  int fd = open(path, O_WRONLY);
  check(fd >= 0, "%s", path);
  check(write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s", path);
  close(fd);
}

static void read_again(int i, char text[MOST]) {
  ssize_t got = pread(held[i], text, MOST - 1, 0);
  check(got > 0, "%s", NAMES[i]);
  text[got] = 0;
  // Numbers of mounts change.
  if (strstr(NAMES[i], "mountinfo")) memset(text, ' ', strcspn(text, "/"));
}

static void verify(void) {
  for (int i = 0; i < COUNT; i++) {
    char text[MOST];
    read_again(i, text);
    if (strstr(NAMES[i], "mountinfo")) text[strcspn(text, "\n")] = said[i][strcspn(said[i], "\n")] = 0;
    check(!strcmp(text, said[i]), "%s says %.60s, and said %.60s", NAMES[i], text, said[i]);
  }
}

int main(int argc, char **argv) {
  put("/proc/sys/kernel/msgmax", "7777");
  check(msgget(0x57a515, IPC_CREAT | 0640) >= 0);
  put("/proc/sys/net/ipv4/ip_forward", "1");
  if (argc > 1 && !strcmp(argv[1], "nested")) {
    check(!unshare(CLONE_NEWUSER));
    put("/proc/self/setgroups", "deny");
    put("/proc/self/uid_map", "7 0 1");
    put("/proc/self/gid_map", "8 0 1");
  }
  for (int i = 0; i < COUNT; i++) {
    held[i] = open(NAMES[i], O_RDONLY | O_CLOEXEC);
    check(held[i] >= 0, "%s", NAMES[i]);
    read_again(i, said[i]);
  }
  victim_ready();
  victim_wait();
  verify();
  victim_pass();
}
