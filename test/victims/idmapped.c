/* A mount that shows its files with other owners (MOUNT_ATTR_IDMAP), in a mount namespace of the process. */
#include "victim.h"
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static int held;

static void verify(void) {
  struct stat plain, mapped, open;
  check(!stat("plain/file", &plain) && !stat("mapped/file", &mapped) && !fstat(held, &open));
  check(plain.st_uid == 3 && plain.st_gid == 4, "plain: %u %u", plain.st_uid, plain.st_gid);
  check(mapped.st_uid == 1003 && mapped.st_gid == 2004, "mapped: %u %u", mapped.st_uid, mapped.st_gid);
  check(open.st_uid == 1003 && open.st_ino == plain.st_ino && open.st_dev == plain.st_dev);
  check(!stat("mapped/other", &mapped) && mapped.st_uid == 65534, "other: %u", mapped.st_uid);
}

static void put(pid_t pid, const char *name, const char *text) {
  char path[60];
  snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
  int fd = open(path, O_WRONLY);
  check(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && !close(fd), "%s", path);
}

/* A user namespace with these maps. */
static int users(const char *uids, const char *gids) {
  int ends[2], fd;
  char path[60], byte;
  check(!pipe(ends));
  pid_t pid = fork();
  check(pid >= 0);
  if (pid == 0) {
    if (unshare(CLONE_NEWUSER) || write(ends[1], "x", 1) != 1) _exit(1);
    for (;;) pause();
  }
  close(ends[1]);
  if (read(ends[0], &byte, 1) != 1) skip("no right to make a user namespace");
  put(pid, "uid_map", uids);
  put(pid, "gid_map", gids);
  snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
  fd = open(path, O_RDONLY | O_CLOEXEC);
  check(fd >= 0 && !kill(pid, SIGKILL) && waitpid(pid, 0, 0) == pid && !close(ends[0]));
  return fd;
}

int main(void) {
  check(!unshare(CLONE_NEWNS) && !mount(0, "/", 0, MS_PRIVATE | MS_REC, 0));
  check(!mkdir("plain", 0755) && !mkdir("mapped", 0755) && !mount("plain", "plain", "tmpfs", 0, 0));
  check(!close(open("plain/file", O_RDWR | O_CREAT, 0644)) && !chown("plain/file", 3, 4));
  check(!close(open("plain/other", O_RDWR | O_CREAT, 0644)) && !chown("plain/other", 50, 50));
  int tree = syscall(SYS_open_tree, AT_FDCWD, "plain", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = users("0 1000 10\n", "0 2000 5\n7 3000 1\n")};
  check(tree >= 0);
  if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof attr)) skip("no idmapped mounts of tmpfs");
  check(!syscall(SYS_move_mount, tree, "", AT_FDCWD, "mapped", MOVE_MOUNT_F_EMPTY_PATH));
  check(!close(tree) && !close((int)attr.userns_fd));
  held = open("mapped/file", O_RDONLY | O_CLOEXEC);
  check(held >= 0);
  victim_ready();
  victim_loop(verify);
}
