/*
 * Namespaces that no process is in any more, of the types that only processes can fill: the children that have made
 * them have ended, and the victim holds a descriptor of each. At the end it looks at them from inside.
 *
 *   heldspaces             a mount namespace with a tmpfs, a file of which is open; a PID namespace
 *   heldspaces CGROUP      the same, and a cgroup namespace: its root is this cgroup of the controller pids
 */
#include "victim.h"
#include <sched.h>
#include <signal.h>
#include <stdnoreturn.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <sys/wait.h>

/* NS_GET_PARENT of ioctl_nsfs(2) */
#define AROUND _IO(0xb7, 0x2)
static const char TEXT[] = "kept in a mount namespace";
static int mounts, pids, cgroups = -1, inner, told[2], go[2];

static void put(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
  check(fd >= 0, "%s", path);
  check(write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s", path);
  close(fd);
}

static void holds_text(int fd) {
  char text[sizeof TEXT] = "";
  check(pread(fd, text, sizeof text, 0) == sizeof TEXT - 1 && !strcmp(text, TEXT), "%.200s", text);
}

static int open_of(pid_t pid, const char *name) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  check(fd >= 0, "%s", path);
  return fd;
}

static void make_mounts(void) {
  check(!unshare(CLONE_NEWNS) && !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
  check(!mount("kept", "place", "tmpfs", MS_NOEXEC, "size=64k,mode=0711"));
  put("place/file", TEXT);
}

/* Has a child make a namespace, and opens it before the child ends. */
static pid_t begin(void (*make)(void), int flags) {
  char byte;
  pid_t child = syscall(SYS_clone, SIGCHLD | flags, 0, 0, 0, 0);
  check(child >= 0);
  if (!child) {
    if (make) make();
    check(write(told[1], "x", 1) == 1 && read(go[0], &byte, 1) == 1);
    _exit(0);
  }
  check(read(told[0], &byte, 1) == 1, "the child has failed");
  return child;
}

static void end(pid_t child) {
  check(write(go[1], "x", 1) == 1 && waitpid(child, NULL, 0) == child);
}

static const char *cgroup;
static void make_cgroups(void) {
  char path[200];
  snprintf(path, sizeof path, "%s/cgroup.procs", cgroup);
  put(path, "0");
  check(!unshare(CLONE_NEWCGROUP));
  snprintf(path, sizeof path, "%s/../cgroup.procs", cgroup);
  put(path, "0");
}

static void expect_success(void (*look)(void)) {
  int status;
  pid_t child = fork();
  if (!child) {
    look();
    _exit(0);
  }
  check(waitpid(child, &status, 0) == child && status == 0, "status %x", status);
}

static void look_at_mounts(void) {
  struct stat is;
  struct statfs on;
  char place[200];
  check(getcwd(place, sizeof place - 20));
  check(!setns(mounts, CLONE_NEWNS) && !chdir(place));
  check(!statfs("place", &on) && on.f_type == 0x01021994 && on.f_blocks == 16, "no tmpfs");
  check(!stat("place", &is) && (is.st_mode & 07777) == 0711);
  check(on.f_flags & MS_NOEXEC);
  int fd = open("place/file", O_RDONLY);
  check(fd >= 0);
  holds_text(fd);
  struct stat other;
  check(!fstat(fd, &is) && !fstat(inner, &other) && is.st_ino == other.st_ino && is.st_dev == other.st_dev);
}

static void look_at_pids(void) {
  struct stat is, own;
  int around = ioctl(pids, AROUND);
  check(around >= 0 && !fstat(around, &is) && !stat("/proc/self/ns/pid", &own) && is.st_ino == own.st_ino);
  check(!setns(pids, CLONE_NEWPID));
  check(fork() < 0 && errno == ENOMEM, "the PID namespace lives");
}

static void look_at_cgroups(void) {
  char text[2000];
  check(!setns(cgroups, CLONE_NEWCGROUP));
  slurp("/proc/self/cgroup", text, sizeof text);
  check(strstr(text, ":pids:/..\n"), "%.200s", text);
}

static void verify(void) {
  holds_text(inner);
  expect_success(look_at_mounts);
  expect_success(look_at_pids);
  if (cgroup) expect_success(look_at_cgroups);
}

int main(int argc, char **argv) {
  check(!pipe(told) && !pipe(go) && !mkdir("place", 0755));
  pid_t child = begin(make_mounts, 0);
  mounts = open_of(child, "ns/mnt");
  char path[300] = "root";
  check(getcwd(path + 4, sizeof path - 40));
  strcat(path, "/place/file");
  inner = open_of(child, path);
  end(child);
  child = begin(NULL, CLONE_NEWPID);
  pids = open_of(child, "ns/pid");
  end(child);
  if (argc > 1) {
    cgroup = argv[1];
    child = begin(make_cgroups, 0);
    cgroups = open_of(child, "ns/cgroup");
    end(child);
  }
  for (int i = 0; i < 2; i++) close(told[i]), close(go[i]);
  verify();
  victim_ready();
  victim_wait();
  verify();
  victim_pass();
}
