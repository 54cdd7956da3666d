/* Files: positions, flags, shared descriptions, append, directories in the middle of being read, device nodes. */
#include "victim.h"
#include <dirent.h>
#include <sys/resource.h>

/* The kernel's own calls for directories: no library buffer in between. */
struct entry {
  uint64_t ino;
  int64_t off;
  unsigned short length;
  unsigned char type;
  char name[];
};

static int fd_rw, fd_dup, fd_far, fd_own, fd_append, fd_dir, fd_null, fd_zero, fd_path, fd_wronly, fd_root;
static char seen[64][32];
static int seen_count;

static void read_some(int times, size_t room) {
  char buffer[4096];
  for (; times; times--) {
    long n = syscall(SYS_getdents64, fd_dir, buffer, room);
    check(n >= 0);
    for (long at = 0; at < n;) {
      struct entry *e = (struct entry *)(buffer + at);
      check(seen_count < 64);
      snprintf(seen[seen_count++], 32, "%s", e->name);
      at += e->length;
    }
    if (n == 0) return;
  }
}

static int description(int a, int b) {
  return syscall(SYS_kcmp, getpid(), getpid(), 0 /* KCMP_FILE */, (long)a, (long)b);
}

static void verify(void) {
  check(lseek(fd_rw, 0, SEEK_CUR) == 1234 && lseek(fd_dup, 0, SEEK_CUR) == 1234 && lseek(fd_own, 0, SEEK_CUR) == 77);
  check(description(fd_rw, fd_dup) == 0 && description(fd_rw, fd_far) == 0 && description(fd_rw, fd_own) != 0);
  check(fcntl(fd_rw, F_GETFD) == 0 && fcntl(fd_dup, F_GETFD) == FD_CLOEXEC && fcntl(fd_far, F_GETFD) == 0);
  check((fcntl(fd_rw, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK)) == (O_RDWR | O_NONBLOCK));
  check((fcntl(fd_append, F_GETFL) & (O_ACCMODE | O_APPEND)) == (O_WRONLY | O_APPEND));
  check((fcntl(fd_own, F_GETFL) & (O_ACCMODE | O_NOATIME)) == (O_RDONLY | O_NOATIME));
  check((fcntl(fd_path, F_GETFL) & O_PATH) && (fcntl(fd_wronly, F_GETFL) & O_ACCMODE) == O_WRONLY);
  check(fcntl(fd_wronly, F_GETFL) & O_DSYNC);
  char byte = 1;
  check(read(fd_null, &byte, 1) == 0 && read(fd_zero, &byte, 1) == 1 && byte == 0);
  struct stat a, b;
  check(!fstat(fd_path, &a) && !stat("odd \n name \\012 (deleted)", &b) && a.st_ino == b.st_ino);
  check(fcntl(fd_rw, F_GETOWN) == 0);
}

int main(void) {
  char name[64];
  mkdir("many", 0755);
  for (int i = 0; i < 40; i++) {
    snprintf(name, sizeof name, "many/entry-%02d", i);
    close(open(name, O_CREAT | O_RDWR, 0644));
  }
  fd_rw = open("data", O_RDWR | O_CREAT | O_TRUNC | O_NONBLOCK, 0640);
  static char block[8192];
  fill_known(block, sizeof block, 5);
  check(write(fd_rw, block, sizeof block) == sizeof block);
  check(lseek(fd_rw, 1234, SEEK_SET) == 1234);
  fd_dup = fcntl(fd_rw, F_DUPFD_CLOEXEC, 20);
  struct rlimit limit;
  check(!getrlimit(RLIMIT_NOFILE, &limit));
  fd_far = dup2(fd_rw, limit.rlim_cur > 5000 ? 4999 : (int)limit.rlim_cur - 1);
  check(fd_dup >= 0 && fd_far >= 0);
  fd_own = open("data", O_RDONLY | O_NOATIME);
  check(lseek(fd_own, 77, SEEK_SET) == 77);
  fd_append = open("log", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0644);
  check(write(fd_append, "one\n", 4) == 4);
  fd_dir = open("many", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  read_some(2, 256);
  fd_null = open("/dev/null", O_RDWR);
  fd_zero = open("/dev/zero", O_RDONLY);
  close(open("odd \n name \\012 (deleted)", O_CREAT | O_RDWR, 0644));
  fd_path = open("odd \n name \\012 (deleted)", O_PATH);
  fd_wronly = open("odd \n name \\012 (deleted)", O_WRONLY | O_DSYNC);
  fd_root = open("/", O_RDONLY | O_DIRECTORY);
  check(fd_null >= 0 && fd_zero >= 0 && fd_path >= 0 && fd_wronly >= 0 && fd_root >= 0);
  check(seen_count > 4 && seen_count < 40);
  victim_ready();
  victim_watch(verify);
  char word[8];
  check(read(fd_dup, word, 6) == 6 && !memcmp(word, block + 1234, 6), "reads on where it was");
  check(lseek(fd_rw, 0, SEEK_CUR) == 1240 && lseek(fd_far, 0, SEEK_CUR) == 1240, "the position is shared");
  check(lseek(fd_own, 0, SEEK_CUR) == 77, "that of another description is not");
  check(!fcntl(fd_dup, F_SETFL, 0) && !(fcntl(fd_far, F_GETFL) & O_NONBLOCK), "flags are shared");
  int other = open("log", O_WRONLY | O_APPEND);
  check(write(other, "two\n", 4) == 4 && write(fd_append, "three\n", 6) == 6);
  char log[32] = "";
  check(slurp("log", log, sizeof log) == 14 && !strcmp(log, "one\ntwo\nthree\n"), "appends: %s", log);
  check(write(fd_wronly, "x", 1) == 1);
  /* The rest of the directory: every entry once, none twice. */
  read_some(100, 1024);
  check(seen_count == 42, "%d entries", seen_count);
  for (int i = 0; i < seen_count; i++)
    for (int j = 0; j < i; j++) check(strcmp(seen[i], seen[j]), "%s twice", seen[i]);
  check(fchdir(fd_root) == 0 && access("proc", F_OK) == 0);
  victim_pass();
}
