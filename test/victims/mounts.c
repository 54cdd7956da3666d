/*
 * A process in a mount namespace of its own: file systems in memory with contents, binds of directories and files,
 * read-only ones, mounts over mounts, peer groups and slaves, a root that was removed. A child is in a namespace of its
 * own in turn, where the working directory is read-only.
 *
 *   mounts        mounts of its own beside those of the machine
 *   mounts pivot  in a root of its own, with nothing of the machine but what is bound there
 */
#include "victim.h"
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#define MOST 16384

static char before[MOST], now[MOST];
static char home[400];
static int held, deleted, under;
static pid_t child;

static char readings[2][8 * MOST];

static char *read_mountinfo(int which) {
  char *text = readings[which];
  int n, fd = open("/proc/self/mountinfo", O_RDONLY);
  size_t length = 0;
  check(fd >= 0);
  while ((n = read(fd, text + length, sizeof readings[which] - 1 - length)) > 0) length += n;
  check(!close(fd));
  text[length] = 0;
  return text;
}

/*
 * What mountinfo says, once two readings are the same. It takes several calls, and a restore in between numbers the
 * mounts anew: then the rest begins in the middle of a line.
 */
static char *mountinfo(void) {
  read_mountinfo(0);
  for (int turn = 1; turn < 10; turn++)
    if (!strcmp(read_mountinfo(turn & 1), readings[~turn & 1])) return readings[0];
  check(0, "mountinfo does not come to rest");
  return 0;
}

/* The mounts below the home, each as root, place, options, type and its groups, numbered as they appear. */
static void list_mounts(char *to) {
  static int groups[64];
  int count = 0;
  size_t used = 0;
  to[0] = 0;
  for (char *line = mountinfo(), *end; (end = strchr(line, '\n')); line = end + 1) {
    char root[500], place[500], options[200];
    *end = 0;
    check(sscanf(line, "%*d %*d %*s %499s %499s %199s", root, place, options) == 3);
    if (strncmp(place, home, strlen(home))) continue;
    used += snprintf(to + used, MOST - used, "%s %s %s", root, place, options);
    char *stop = strstr(line, " - ");
    const char *const tags[] = {" shared:", " master:"};
    for (int i = 0; i < 2; i++) {
      char *tag = strstr(line, tags[i]);
      if (!tag || tag > stop) continue;
      int group = atoi(tag + 8), at = 0;
      while (at < count && groups[at] != group) at++;
      if (at == count && count < 64) groups[count++] = group;
      used += snprintf(to + used, MOST - used, "%s%d", tags[i], at);
    }
    if (strstr(line, " unbindable")) used += snprintf(to + used, MOST - used, " unbindable");
    char type[100], source[200], super[300];
    check(sscanf(stop, " - %99s %199s %299s", type, source, super) == 3);
    used += snprintf(to + used, MOST - used, " %s %s %s\n", type, source, super);
    check(used < MOST - 1000);
  }
}

static void put(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CREAT, 0640);
  check(fd >= 0, "%s", path);
  check(write(fd, text, strlen(text)) == (ssize_t)strlen(text) && !close(fd));
}

static void holds(const char *path, const char *text) {
  char got[100] = "";
  int fd = open(path, O_RDONLY);
  check(fd >= 0, "%s", path);
  check(read(fd, got, sizeof got - 1) == (ssize_t)strlen(text) && !strcmp(got, text) && !close(fd), "%s", path);
}

static void bind(const char *from, const char *to, unsigned long more) {
  check(!mount(from, to, NULL, MS_BIND, NULL), "%s", to);
  if (more) check(!mount(NULL, to, NULL, MS_BIND | MS_REMOUNT | more, NULL), "%s", to);
}

static void set_up(void) {
  const char *const dirs[] = {"tmp", "bind", "ro", "peer", "slave", "late", "over"};
  check(getcwd(home, sizeof home));
  for (int i = 0; i < 7; i++) check(!mkdir(dirs[i], 0755));
  check(!mount("memory", "tmp", "tmpfs", MS_NODEV, "size=8m,mode=751"));
  check(!mkdir("tmp/dir", 0700) && !mkdir("tmp/dir/gone", 0700) && !mkdir("tmp/dir/place", 0700));
  put("tmp/dir/file", "contents");
  check(!link("tmp/dir/file", "tmp/hard") && !symlink("dir/file", "tmp/soft") && !mkfifo("tmp/fifo", 0604));
  check(!mknod("tmp/null", S_IFCHR | 0666, makedev(1, 3)) && !chown("tmp/dir/file", 12, 34));
  check(!lsetxattr("tmp/dir/file", "trusted.note", "a\0b", 3, 0));
  put("tmp/sparse", "begin");
  check(!truncate("tmp/sparse", 5000000));
  held = open("tmp/dir/file", O_RDWR);
  deleted = open("tmp/deleted", O_RDWR | O_CREAT, 0600);
  check(held >= 0 && deleted >= 0 && write(deleted, "ghost", 5) == 5 && !unlink("tmp/deleted"));
  bind("tmp/dir", "bind", MS_NOSUID | MS_NOATIME);
  bind("tmp", "ro", MS_RDONLY);
  put("file", "below");
  bind("tmp/hard", "file", 0);
  /* A group of two, a slave of it that shares with others, and one that nobody may bind. */
  check(!mount("groups", "peer", "tmpfs", 0, "size=1m") && !mkdir("peer/sub", 0755));
  check(!mount(NULL, "peer", NULL, MS_SHARED, NULL));
  bind("peer", "slave", 0);
  check(!mount(NULL, "slave", NULL, MS_SLAVE, NULL) && !mount(NULL, "slave", NULL, MS_SHARED, NULL));
  bind("slave", "late", MS_NODIRATIME);
  check(!mount("sub", "peer/sub", "tmpfs", MS_RDONLY, "size=1m"));
  check(!mount("unbindable", "over", "tmpfs", 0, NULL) && !mount(NULL, "over", NULL, MS_UNBINDABLE, NULL));
  put("over/under", "covered");
  under = open("over", O_RDONLY | O_DIRECTORY);
  check(under >= 0 && !close(under));
  check(!mount("over", "over", "tmpfs", MS_RDONLY, NULL));
  /* The last one, since it is made last. */
  bind("tmp/dir/gone", "tmp/dir/place", 0);
  check(!rmdir("tmp/dir/gone"));
  list_mounts(before);
}

static void verify(void) {
  struct stat a, b;
  char note[10];
  /* A dump in the middle of this would find other files open each time, and file systems get other device numbers. */
  if (!victim_asked()) return;
  list_mounts(now);
  check(!strcmp(before, now), "\n%.280s", now);
  holds("tmp/hard", "contents");
  holds("bind/file", "contents");
  holds("file", "contents");
  check(!stat("tmp/hard", &a) && !fstat(held, &b) && a.st_ino == b.st_ino && a.st_dev == b.st_dev);
  check(a.st_nlink == 2 && a.st_uid == 12 && a.st_gid == 34 && a.st_mode == (S_IFREG | 0640));
  check(lgetxattr("tmp/dir/file", "trusted.note", note, sizeof note) == 3 && !memcmp(note, "a\0b", 3));
  check(!stat("tmp/sparse", &a) && a.st_size == 5000000 && a.st_blocks < 100);
  check(!lstat("tmp/null", &a) && a.st_rdev == makedev(1, 3) && !lstat("tmp/fifo", &a) && S_ISFIFO(a.st_mode));
  check(pread(deleted, note, 10, 0) == 5 && !memcmp(note, "ghost", 5) && !fstat(deleted, &a) && a.st_nlink == 0);
  check(a.st_dev == b.st_dev);
  int status = 0;
  check(!waitpid(child, &status, WNOHANG), "the child has ended: %x", status);
  check(open("ro/new", O_WRONLY | O_CREAT, 0600) == -1 && errno == EROFS);
}

/* What mounts propagate is tried once, at the end: it leaves traces. */
static void propagates(void) {
  check(!mkdir("peer/new", 0700) && !mount("new", "peer/new", "tmpfs", 0, NULL));
  put("peer/new/seen", "everywhere");
  holds("slave/new/seen", "everywhere");
  holds("late/new/seen", "everywhere");
  check(!umount2("late/new", MNT_DETACH) && access("slave/new/seen", F_OK) == -1);
  holds("peer/new/seen", "everywhere");
  check(!umount2("peer/new", MNT_DETACH));
  check(!umount2("over", MNT_DETACH));
  holds("over/under", "covered");
}

/* A child whose working directory has the path and the inode that it has outside, and is on another mount. */
static void nest(void) {
  child = fork();
  check(child >= 0);
  if (child) return;
  check(!unshare(CLONE_NEWNS) && !mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL));
  bind(home, home, 0);
  check(!mount(NULL, home, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) && !chdir(home));
  for (;;) {
    if (open("new", O_WRONLY | O_CREAT, 0600) != -1 || errno != EROFS) _exit(3);
    victim_nap(5);
  }
}

static void pivot(char *self) {
  char cwd[400], place[500];
  check(getcwd(cwd, sizeof cwd) && !mkdir("root", 0755));
  bind("/", "root", 0);
  check(!chdir("root") && !syscall(SYS_pivot_root, ".", ".") && !umount2(".", MNT_DETACH) && !chdir("/"));
  check(!mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
  check(!mount("sysfs", "/sys", "sysfs", MS_RDONLY, NULL));
  check(!mount("devices", "/dev", "tmpfs", MS_NOSUID, "mode=755"));
  check(!mknod("/dev/null", S_IFCHR | 0666, makedev(1, 3)) && !mkdir("/dev/pts", 0755) && !mkdir("/dev/shm", 01777));
  check(!mount("pts", "/dev/pts", "devpts", MS_NOSUID, "ptmxmode=0666,mode=620,gid=5,newinstance"));
  check(!mount("queues", "/dev/shm", "mqueue", 0, NULL));
  snprintf(place, sizeof place, "%s/root", cwd);
  check(!chdir(cwd));
  execl(self, self, "pivoted", NULL);
  check(false);
}

int main(int argc, char **argv) {
  if (argc < 2 || strcmp(argv[1], "pivoted")) {
    if (unshare(CLONE_NEWNS)) skip("no mount namespace can be made");
    check(!mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL));
    if (argc > 1) pivot(argv[0]);
  }
  set_up();
  nest();
  victim_nap(100);
  victim_ready();
  victim_watch(verify);
  check(!kill(child, SIGKILL) && waitpid(child, NULL, 0) == child);
  propagates();
  victim_pass();
}
