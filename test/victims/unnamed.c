/*
 * Files that never had a name (O_TMPFILE): after a restore, too, they can be given one. One is open twice, one is only
 * mapped. A file that was deleted cannot.
 */
#include "victim.h"

#define MAPPED_AT ((void *)0x10000000)

static int file, again, readonly, deleted;
static char *mapped;

static void named(int fd, const char *name, bool by_path) {
  char path[64];
  struct stat a, b;
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  check(!fstat(fd, &a) && a.st_nlink == 0 && a.st_uid == 12 && a.st_gid == 34 && (a.st_mode & 07777) == 0640, "%s %o", name,
        a.st_mode);
  check(a.st_mtime == 1000000000, "%ld", (long)a.st_mtime);
  if (by_path)
    check(!linkat(AT_FDCWD, path, AT_FDCWD, name, AT_SYMLINK_FOLLOW), "%s", name);
  else
    check(!linkat(fd, "", AT_FDCWD, name, AT_EMPTY_PATH), "%s", name);
  check(!stat(name, &b) && b.st_ino == a.st_ino && b.st_nlink == 1 && !unlink(name));
}

static int unnamed(const char *text, int flags) {
  int fd = open(".", O_RDWR | O_TMPFILE | flags, 0600);
  if (fd < 0 && errno == EOPNOTSUPP) skip("no files without a name here");
  check(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
  check(!fchown(fd, 12, 34) && !fchmod(fd, 0640));
  struct timespec times[2] = {{1000000000, 0}, {1000000000, 0}};
  check(!futimens(fd, times));
  return fd;
}

static void verify(void) {
  char got[16] = "";
  check(pread(file, got, 15, 0) == 5 && !strcmp(got, "plain") && lseek(file, 0, SEEK_CUR) == 2);
  check(pread(again, got, 15, 0) == 5 && !strcmp(got, "plain") && lseek(again, 0, SEEK_CUR) == 0);
  const int kept = O_ACCMODE | O_APPEND | O_TMPFILE;
  check((fcntl(file, F_GETFL) & kept) == (O_RDWR | O_APPEND | O_TMPFILE), "flags %o", fcntl(file, F_GETFL));
  check((fcntl(again, F_GETFL) & kept) == O_RDWR && (fcntl(readonly, F_GETFL) & kept) == O_RDONLY);
  check(!memcmp(mapped, "mapped", 6));
  check(linkat(deleted, "", AT_FDCWD, "back", AT_EMPTY_PATH) == -1 && errno == ENOENT);
}

int main(void) {
  char path[64];
  file = unnamed("plain", O_APPEND);
  snprintf(path, sizeof path, "/proc/self/fd/%d", file);
  again = open(path, O_RDWR);
  readonly = open(path, O_RDONLY);
  check(again >= 0 && readonly >= 0 && lseek(file, 2, SEEK_SET) == 2);
  int map = unnamed("mapped", 0);
  mapped = mmap(MAPPED_AT, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE, map, 0);
  check(mapped != MAP_FAILED && !close(map));
  deleted = open("deleted", O_RDWR | O_CREAT, 0600);
  check(deleted >= 0 && !unlink("deleted"));
  victim_ready();
  victim_watch(verify);
  named(file, "first", false);
  char name[64];
  uintptr_t start = (uintptr_t)mapped;
  snprintf(name, sizeof name, "/proc/self/map_files/%lx-%lx", start, start + PAGE);
  int fd = open(name, O_RDWR);
  check(fd >= 0);
  named(fd, "second", true);
  victim_pass();
}
