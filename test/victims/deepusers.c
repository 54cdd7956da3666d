/*
 * A user namespace that no process is in any more: whoever has made it, with an own of every other kind, goes on into
 * another one, as sandboxes do. So its PID namespace, its mounts and its host name belong to a user namespace in which
 * it has no rights. The program itself stays outside, and starts the victim.
 *
 *   deepusers         the outer namespace has many users, the inner one of them
 *   deepusers one     both have one, and groups without a name inside
 */
#include "family.h"
#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/wait.h>

enum { ROOT, CHILD, LATER, COUNT };
/* NS_GET_USERNS of ioctl_nsfs(2) */
#define OWNER _IO(0xb7, 0x1)

static char maps_was[1024], groups_was[1024];
static pid_t thread_was;
static _Atomic int32_t thread_now;

static void look(char *maps, char *groups) {
  size_t at = slurp("/proc/self/uid_map", maps, 300);
  at += slurp("/proc/self/gid_map", maps + at, 300);
  slurp("/proc/self/setgroups", maps + at, 100);
  static char status[8192];
  slurp("/proc/self/status", status, sizeof status);
  char *line = strstr(status, "\nGroups:");
  check(line);
  snprintf(groups, 1024, "%.*s", (int)strcspn(line + 1, "\n"), line + 1);
}

/* All namespaces but its own user namespace belong to the one around that. */
static void owners(void) {
  static const char *const names[] = {"user", "pid", "mnt", "net", "ipc", "uts"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    char path[40];
    snprintf(path, sizeof path, "/proc/self/ns/%s", names[i]);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    check(fd >= 0, "%s", path);
    /* Nobody is told of a user namespace around one's own. */
    int owner = ioctl(fd, OWNER);
    check(owner < 0, "%s belongs to one of mine", names[i]);
    close(fd);
  }
}

static void *thread(void *nothing) {
  for (;;) {
    thread_now = syscall(SYS_gettid);
    usleep(2000);
  }
  return nothing;
}

static void verify(void) {
  check(getuid() == 7 && geteuid() == 7 && getgid() == 7, "user %d:%d", getuid(), getgid());
  char host[65];
  check(!gethostname(host, sizeof host) && !strcmp(host, "deep"));
  check(sethostname("x", 1) < 0 && errno == EPERM);
  if (me == ROOT) check(getpid() == 1 && thread_now == thread_was, "thread %d", thread_now);
}

/* At the end, since what /proc tells of maps depends on who has opened the file: a restore, if it was open. */
static void last(void) {
  static char maps[1024], groups[1024];
  look(maps, groups);
  check(!strcmp(maps, maps_was), "maps %.200s", maps);
  check(!strcmp(groups, groups_was), "%.120s, was %.120s", groups, groups_was);
  owners();
}

static void map(const char *process, const char *name, const char *lines) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%s/%s", process, name);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  check(fd >= 0 && write(fd, lines, strlen(lines)) == (ssize_t)strlen(lines), "%s", path);
  close(fd);
}

static void be_root(bool many) {
  check(getpid() == 1);
  if (many) check(!setgroups(0, 0) && !setresgid(3, 3, 3) && !setresuid(3, 3, 3));
  check(setsid() == 1 && !sethostname("deep", 4));
  check(!mount("none", "/", 0, MS_REC | MS_PRIVATE, 0) && !mount("proc", "/proc", "proc", 0, 0));
  family_found(COUNT);
  check(!unshare(CLONE_NEWUSER) && !prctl(PR_SET_DUMPABLE, 1));
  map("self", "setgroups", "deny");
  map("self", "uid_map", many ? "7 3 1\n" : "7 0 1\n");
  map("self", "gid_map", many ? "7 3 1\n" : "7 0 1\n");
  look(maps_was, groups_was);
  pthread_t one;
  if (fork() == 0) {
    family_born(CHILD);
  } else if (fork() == 0) {
    family_born(LATER);
  } else {
    check(!pthread_create(&one, 0, thread, 0));
    while (!thread_now) usleep(1000);
    thread_was = thread_now;
    family_born(ROOT);
  }
  family_live_and(verify, last);
}

int main(int argc, char **argv __attribute__((unused))) {
  int go[2];
  char byte, id[20];
  bool many = argc < 2;
  gid_t groups[] = {24, 27};
  check(!chmod(".", 0777) && !pipe2(go, O_CLOEXEC) && !setgroups(2, groups));
  long flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
  pid_t child = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
  check(child >= 0);
  if (child == 0) {
    check(read(go[0], &byte, 1) == 1 && !close(go[0]) && !close(go[1]));
    be_root(many);
  }
  snprintf(id, sizeof id, "%d", child);
  if (!many) map(id, "setgroups", "deny");
  map(id, "uid_map", many ? "0 20000 5\n" : "0 0 1\n");
  map(id, "gid_map", many ? "0 30000 5\n" : "0 0 1\n");
  check(write(go[1], "x", 1) == 1);
  /* It says itself how it went; what is said here would be said of another process. */
  close(0), close(1), close(2);
  close(go[0]), close(go[1]);
  int status;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
