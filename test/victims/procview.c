/*
 * Files of /proc that show what is in the namespaces of whoever has opened them: the victim holds some open, and checks
 * that they say what they have said.
 *
 *   procview          in the namespaces that it is in
 *   procview nested   a child does, in a user namespace inside of another one
 */
#include "victim.h"
#include <netinet/in.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/wait.h>

static const char *const NAMES[] = {
    "/proc/self/uid_map",       "/proc/self/gid_map",       "/proc/sysvipc/msg",
    "/proc/sys/kernel/msgmax",  "/proc/sys/kernel/shm_rmid_forced",
    "/proc/sys/net/ipv4/ip_forward", "/proc/self/status", "/proc/thread-self/status", "/proc/self/net/udp",
};
enum { COUNT = sizeof NAMES / sizeof *NAMES, MOST = 400 };
static int held[COUNT];
static char said[COUNT][MOST];

static void put(const char *path, const char *text) {
  int fd = open(path, O_WRONLY);
  check(fd >= 0, "%s", path);
  check(write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s", path);
  close(fd);
}

/* Leaves what is between two texts. */
static void cut_out(char *text, const char *from, const char *to) {
  char *first = strstr(text, from), *last = first ? strstr(first, to) : 0;
  check(last, "no %s in %s", from, text);
  *last = 0;
  memmove(text, first, last - first + 1);
}

static void read_again(int i, char text[MOST]) {
  ssize_t got = pread(held[i], text, MOST - 1, 0);
  check(got > 0, "%s", NAMES[i]);
  text[got] = 0;
  /* Other lines and columns of these change: a few numbers are users. */
  if (strstr(NAMES[i], "status")) cut_out(text, "\nUid:", "\nFDSize");
  else if (strstr(NAMES[i], "udp")) cut_out(text, ": 0100007F:", " 0 ");
  else text[MOST / 2] = 0;
}

static void verify(void) {
  for (int i = 0; i < COUNT; i++) {
    char text[MOST];
    read_again(i, text);
    check(!strcmp(text, said[i]), "%s says %.60s, and said %.60s", NAMES[i], text, said[i]);
  }
}

/* A socket for /proc/self/net/udp; of another user, if there are more. */
static void bind_socket(bool more) {
  if (more) check(!setresuid(7, 0, 0) && setfsuid(7) == 0);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  check(fd >= 0 && !bind(fd, (struct sockaddr *)&at, sizeof at));
  setfsuid(0);
}

static void put_for(pid_t pid, const char *name, const char *text) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
  put(path, text);
}

/* A child that stays outside gives the maps. */
static void nest(const char *uids, const char *gids) {
  int told[2];
  char byte;
  check(!pipe(told));
  pid_t self = getpid(), child = fork();
  if (!child) {
    close(told[1]);
    check(read(told[0], &byte, 1) == 0);
    put_for(self, "uid_map", uids);
    put_for(self, "gid_map", gids);
    _exit(0);
  }
  check(!unshare(CLONE_NEWUSER));
  close(told[0]), close(told[1]);
  int status;
  check(waitpid(child, &status, 0) == child && status == 0);
}

int main(int argc, char **argv) {
  put("/proc/sys/kernel/msgmax", "7777");
  check(msgget(0x57a515, IPC_CREAT | 0640) >= 0);
  put("/proc/sys/net/ipv4/ip_forward", "1");
  int told[2], go[2];
  char byte;
  bool nested = argc > 1 && !strcmp(argv[1], "nested");
  check(!pipe(told) && !pipe(go));
  pid_t child = nested ? fork() : 0;
  if (!child) {
    if (nested) {
      nest("0 0 1\n3 5 1\n", "0 0 1\n4 6 1\n");
      nest("0 0 1\n7 3 1\n", "0 0 1\n8 4 1\n");
    }
    bind_socket(nested);
    for (int i = 0; i < COUNT; i++) {
      held[i] = open(NAMES[i], O_RDONLY | O_CLOEXEC);
      check(held[i] >= 0, "%s", NAMES[i]);
      read_again(i, said[i]);
    }
    if (nested) {
      check(write(told[1], "x", 1) == 1 && read(go[0], &byte, 1) == 1);
      verify();
      _exit(0);
    }
  } else check(read(told[0], &byte, 1) == 1);
  victim_ready();
  victim_wait();
  int status = 0;
  if (!child) verify();
  else check(write(go[1], "x", 1) == 1 && waitpid(child, &status, 0) == child && status == 0, "status %x", status);
  victim_pass();
}
