/* Where a task stands: working directory, root, umask. In a root of its own, so that paths mean something else. */
#include "victim.h"

static struct stat cwd, root;

static void verify(void) {
  struct stat s;
  check(!stat(".", &s) && s.st_ino == cwd.st_ino && s.st_dev == cwd.st_dev);
  check(!stat("/", &s) && s.st_ino == root.st_ino && s.st_dev == root.st_dev);
  check(access("/inner", F_OK) == 0 && access("/proc", F_OK) != 0);
  mode_t mask = umask(0);
  umask(mask);
  check(mask == 0137, "umask is %o", mask);
}

int main(int argc, char **argv) {
  mkdir("root", 0755);
  mkdir("root/inner", 0755);
  mkdir("root/inner/depth \\ (deleted)", 0755);
  umask(0137);
  if (argc > 1 && !strcmp(argv[1], "no-root")) {
    check(!chdir("root/inner"));
    check(!stat(".", &cwd));
    victim_ready();
    victim_wait();
    struct stat s;
    check(!stat(".", &s) && s.st_ino == cwd.st_ino && s.st_dev == cwd.st_dev);
    check(umask(0) == 0137);
    victim_pass();
  }
  if (chroot("root")) skip("chroot: %s", strerrorname_np(errno));
  check(!chdir("/inner/depth \\ (deleted)"));
  check(!stat(".", &cwd) && !stat("/", &root));
  victim_ready();
  victim_loop(verify);
}
