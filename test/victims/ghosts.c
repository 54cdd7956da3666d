/*
 * Files that are open, mapped or stood in but have lost their name: all kinds of them, holes, several names for one
 * inode, names that are taken by something else by now. With "linked": files that live on under another name.
 */
#include "victim.h"
#include <sys/sysmacros.h>

#define BIG (300 * PAGE)
/* These change: a ghost is a new inode, and a name that is taken by now cannot come back. */
#define MAPPED_AT ((void *)0x10000000)
#define TAKEN_FD 50

typedef struct {
  int fd;
  struct stat was;
  char link[300];
} Kept;

static Kept kept[24];
static int kept_count;
static char *mapped;

/* Remembers what an open file looks like. */
static int keep(int fd) {
  check(fd >= 0, "of file %d", kept_count);
  Kept *k = &kept[kept_count++];
  k->fd = fd;
  return fd;
}

static void look(int fd, struct stat *s, char link[300]) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(path, link, 299);
  check(n > 0);
  link[n] = 0;
  check(!fstat(fd, s));
}

static void remember(void) {
  for (int i = 0; i < kept_count; i++) look(kept[i].fd, &kept[i].was, kept[i].link);
}

static int rw, same, other_name, big, dir, inner, fifo, null, symbolic, taken, append;

static void verify(void) {
  for (int i = 0; i < kept_count; i++) {
    struct stat now;
    char link[300];
    Kept *k = &kept[i];
    look(k->fd, &now, link);
    if (k->fd != taken) check(!strcmp(link, k->link), "%s is %s", k->link, link);
    check(now.st_mode == k->was.st_mode && now.st_size == k->was.st_size && now.st_uid == k->was.st_uid, "%s", link);
    check(now.st_nlink == k->was.st_nlink && now.st_rdev == k->was.st_rdev && now.st_gid == k->was.st_gid, "%s", link);
    /* The small one is written to through the mapping. */
    check(now.st_size == 11 || now.st_mtim.tv_sec == k->was.st_mtim.tv_sec, "%s", link);
  }
  struct stat a, b;
  check(!fstat(rw, &a) && !fstat(same, &b) && a.st_ino == b.st_ino && a.st_dev == b.st_dev);
  check(!fstat(other_name, &b) && a.st_ino == b.st_ino);
  check(lseek(rw, 0, SEEK_CUR) == 3 && lseek(same, 0, SEEK_CUR) == 0);
  char text[16] = "";
  check(pread(rw, text, 15, 0) == 11 && !strcmp(text, "small ghost"));
  check(!strcmp(mapped, "small ghost"));
  mapped[0] ^= 1;
  check(pread(same, text, 1, 0) == 1 && text[0] == mapped[0]);
  mapped[0] ^= 1;
}

static void verify_holes(void) {
  static char page[2 * PAGE];
  check(pread(big, page, sizeof page, 10 * PAGE) == sizeof page && differs_known(page, sizeof page, 9) < 0);
  check(pread(big, page, PAGE, 100 * PAGE) == PAGE && all_zero(page, PAGE));
  struct stat s;
  check(!fstat(big, &s) && s.st_size == BIG + 17 && (size_t)s.st_blocks * 512 < BIG / 4, "%ld blocks", (long)s.st_blocks);
}

static void nameless(void) {
  rw = keep(open("small", O_RDWR | O_CREAT | O_EXCL, 04750));
  check(write(rw, "small ghost", 11) == 11 && lseek(rw, 3, SEEK_SET) == 3);
  check(!fchown(rw, 1234, 5678) && !fchmod(rw, 04750));
  check(!link("small", "second name"));
  same = keep(open("small", O_RDONLY | O_NOFOLLOW));
  other_name = keep(open("second name", O_RDONLY));
  append = keep(open("small", O_WRONLY | O_APPEND));
  mapped = mmap(MAPPED_AT, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE, rw, 0);
  check(mapped != MAP_FAILED && !unlink("small") && !unlink("second name"));

  static char block[2 * PAGE];
  fill_known(block, sizeof block, 9);
  big = keep(open("big", O_RDWR | O_CREAT, 0600));
  check(pwrite(big, block, sizeof block, 10 * PAGE) == sizeof block && !ftruncate(big, BIG + 17) && !unlink("big"));

  check(!mkdir("dir", 0711) && !mkdir("dir/deep", 0700));
  inner = keep(open("dir/deep/file", O_RDWR | O_CREAT, 0600));
  dir = keep(open("dir", O_RDONLY | O_DIRECTORY));
  check(!unlink("dir/deep/file") && !rmdir("dir/deep") && !rmdir("dir"));

  check(!mkfifo("fifo", 0620));
  fifo = keep(open("fifo", O_PATH));
  check(!unlink("fifo"));
  if (!mknod("null", S_IFCHR | 0666, makedev(1, 3))) {
    null = open("null", O_RDWR);
    if (null >= 0) keep(null);
    check(!unlink("null"));
  }
  check(!symlink("nowhere at all", "symbolic"));
  symbolic = keep(open("symbolic", O_PATH | O_NOFOLLOW));
  check(!unlink("symbolic"));

  int low = open("taken", O_RDWR | O_CREAT, 0600);
  taken = keep(dup2(low, TAKEN_FD));
  close(low);
  check(write(taken, "old", 3) == 3 && !unlink("taken"));
  int new = open("taken", O_RDWR | O_CREAT, 0600);
  check(write(new, "the new one", 11) == 11 && !close(new));

  keep(open("alive (deleted)", O_RDWR | O_CREAT, 0600));
  keep(open("dead (deleted)", O_RDWR | O_CREAT, 0600));
  check(!unlink("dead (deleted)"));
}

/* The directory it stands in is gone. */
static void nowhere(void) { check(!mkdir("standing", 0700) && !chdir("standing") && !rmdir("../standing")); }

static void verify_nowhere(void) {
  char path[300], link[300];
  ssize_t n = readlink("/proc/self/cwd", link, sizeof link - 1);
  check(n > 10);
  link[n] = 0;
  check(!strcmp(link + n - 19, "/standing (deleted)"), "%s", link);
  check(!getcwd(path, sizeof path) && errno == ENOENT);
}

static void verify_linked(void) {
  struct stat a, b;
  char text[16] = "";
  check(!fstat(rw, &a) && !stat("elsewhere", &b) && a.st_ino == b.st_ino && a.st_nlink == 1, "%d links", (int)a.st_nlink);
  check(pread(rw, text, 15, 0) == 6 && !strcmp(text, "linked") && lseek(rw, 0, SEEK_CUR) == 6);
  check(pwrite(rw, "l", 1, 0) == 1);
  check(access("file", F_OK) && errno == ENOENT);
}

int main(int argc, char **argv) {
  if (argc > 1 && !strcmp(argv[1], "linked")) {
    rw = keep(open("file", O_RDWR | O_CREAT, 0640));
    check(write(rw, "linked", 6) == 6 && !link("file", "elsewhere") && !unlink("file"));
    victim_ready();
    victim_loop(verify_linked);
  }
  if (argc > 1 && !strcmp(argv[1], "nowhere")) {
    nowhere();
    victim_ready();
    victim_loop(verify_nowhere);
  }
  nameless();
  remember();
  victim_ready();
  while (!victim_asked()) {
    verify();
    verify_holes();
    victim_nap(5);
  }
  verify();
  verify_holes();
  victim_pass();
}
