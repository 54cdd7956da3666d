/*
 * Unlinked files that are open by way of two mounts: of one directory, and of two directories in each of which the file
 * had a name.
 */
#include "victim.h"
#include <sched.h>
#include <sys/mount.h>

static int first, second, left, right;

static void same(int one, int other) {
  struct stat a, b;
  check(!fstat(one, &a) && !fstat(other, &b) && a.st_ino == b.st_ino && a.st_dev == b.st_dev && a.st_nlink == 0);
  char text[16] = "";
  check(pwrite(one, "written", 7, 0) == 7 && pread(other, text, 7, 0) == 7 && !strcmp(text, "written"), "%s", text);
}

static void links_to(int fd, const char *name) {
  char path[40], to[300] = "";
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  check(readlink(path, to, sizeof to - 1) > 0 && strstr(to, name), "%s", to);
}

static void verify(void) {
  same(first, second);
  same(left, right);
  links_to(left, "/one-of-two/name");
  links_to(right, "/other-of-two/another");
}

int main(void) {
  check(!unshare(CLONE_NEWNS) && !mount(0, "/", 0, MS_PRIVATE | MS_REC, 0));
  check(!mkdir("one", 0700) && !mkdir("two", 0700));
  check(!mount("ghosts", "one", "tmpfs", 0, 0) && !mount("one", "two", 0, MS_BIND, 0));
  first = open("one/file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  second = open("two/file", O_RDWR | O_CLOEXEC);
  check(first >= 0 && second >= 0 && !unlink("one/file"));
  const char *const dirs[] = {"whole", "one-of-two", "other-of-two"};
  for (int i = 0; i < 3; i++) check(!mkdir(dirs[i], 0700));
  check(!mount("links", "whole", "tmpfs", 0, 0) && !mkdir("whole/a", 0700) && !mkdir("whole/b", 0700));
  check(!mount("whole/a", "one-of-two", 0, MS_BIND, 0) && !mount("whole/b", "other-of-two", 0, MS_BIND, 0));
  left = open("one-of-two/name", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  check(left >= 0 && !link("whole/a/name", "whole/b/another"));
  right = open("other-of-two/another", O_RDWR | O_CLOEXEC);
  check(right >= 0 && !unlink("whole/a/name") && !unlink("whole/b/another"));
  victim_ready();
  victim_loop(verify);
}
