/* An unlinked file that is open by way of two mounts of one directory. */
#include "victim.h"
#include <sched.h>
#include <sys/mount.h>

static int first, second;

static void verify(void) {
  struct stat a, b;
  check(!fstat(first, &a) && !fstat(second, &b) && a.st_ino == b.st_ino && a.st_dev == b.st_dev && a.st_nlink == 0);
  char text[16] = "";
  check(pwrite(first, "written", 7, 0) == 7 && pread(second, text, 7, 0) == 7 && !strcmp(text, "written"), "%s", text);
}

int main(void) {
  check(!unshare(CLONE_NEWNS) && !mount(0, "/", 0, MS_PRIVATE | MS_REC, 0));
  check(!mkdir("one", 0700) && !mkdir("two", 0700));
  check(!mount("ghosts", "one", "tmpfs", 0, 0) && !mount("one", "two", 0, MS_BIND, 0));
  first = open("one/file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  second = open("two/file", O_RDWR | O_CLOEXEC);
  check(first >= 0 && second >= 0 && !unlink("one/file"));
  victim_ready();
  victim_loop(verify);
}
