/* Memory that is a file: memfds with names, seals and modes, shared anonymous mappings, mapped in several places. */
#include "victim.h"

#define LENGTH (64 * PAGE)

static int fd, reader, sealed, empty, write_only;
static char *shared, *again, *part, *private, *readable_only, *anonymous, *anonymous_tail;

static void verify(void) {
  check(differs_known(shared, 8 * PAGE, 1) < 0 && differs_known(again, 8 * PAGE, 1) < 0);
  check(differs_known(private, PAGE, 2) < 0 && differs_known(private + PAGE, PAGE, 3) < 0);
  check(!strcmp(readable_only, "for reading"));
  check(lseek(fd, 0, SEEK_CUR) == 4321 && lseek(reader, 0, SEEK_CUR) == 10);
  shared[20 * PAGE]++;
  check(again[20 * PAGE] == shared[20 * PAGE] && part[4 * PAGE] == shared[20 * PAGE]);
  check((fcntl(reader, F_GETFL) & O_ACCMODE) == O_RDONLY && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR);
  check((fcntl(write_only, F_GETFL) & (O_ACCMODE | O_APPEND)) == (O_WRONLY | O_APPEND));
  check(fcntl(sealed, F_GET_SEALS) == (F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_WRITE));
  check(fcntl(fd, F_GET_SEALS) == 0 && fcntl(empty, F_GET_SEALS) == F_SEAL_SEAL);
  struct stat s;
  check(!fstat(fd, &s) && s.st_size == LENGTH - 100 && (s.st_mode & 07777) == 0610 && s.st_uid == 42);
  check(!fstat(empty, &s) && s.st_size == 0);
  check(differs_known(anonymous, 2 * PAGE, 4) < 0 && all_zero(anonymous + 2 * PAGE, PAGE));
  anonymous[31 * PAGE + 5]++;
  check(anonymous_tail[PAGE + 5] == anonymous[31 * PAGE + 5]);
}

static int names(void) {
  char path[64], link[300];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(path, link, sizeof link - 1);
  link[n > 0 ? n : 0] = 0;
  return strcmp(link, "/memfd:a name with \n and / (deleted)");
}

int main(void) {
  fd = memfd_create("a name with \n and /", MFD_ALLOW_SEALING);
  if (fd < 0) skip("no memfd_create");
  check(!ftruncate(fd, LENGTH - 100) && !fchmod(fd, 0610) && !fchown(fd, 42, 0));
  shared = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  again = mmap(NULL, LENGTH, PROT_READ, MAP_SHARED, fd, 0);
  part = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 16 * PAGE);
  private = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  check(shared != MAP_FAILED && again != MAP_FAILED && part != MAP_FAILED && private != MAP_FAILED);
  fill_known(shared, 8 * PAGE, 1);
  fill_known(private, PAGE, 2);
  fill_known(private + PAGE, PAGE, 3);
  check(lseek(fd, 4321, SEEK_SET) == 4321);
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  reader = open(path, O_RDONLY);
  write_only = open(path, O_WRONLY | O_APPEND);
  check(reader >= 0 && write_only >= 0 && lseek(reader, 10, SEEK_SET) == 10);

  sealed = memfd_create("", MFD_ALLOW_SEALING | MFD_CLOEXEC);
  check(write(sealed, "for reading", 12) == 12);
  snprintf(path, sizeof path, "/proc/self/fd/%d", sealed);
  int opened = open(path, O_RDONLY);
  readable_only = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, opened, 0);
  check(readable_only != MAP_FAILED && !close(opened));
  check(!fcntl(sealed, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_WRITE));
  empty = memfd_create("empty", 0);

  anonymous = mmap(NULL, 32 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  check(anonymous != MAP_FAILED);
  fill_known(anonymous, 2 * PAGE, 4);
  anonymous_tail = mremap(anonymous + 30 * PAGE, 0, 2 * PAGE, MREMAP_MAYMOVE);
  check(anonymous_tail != MAP_FAILED && !mprotect(anonymous + 8 * PAGE, PAGE, PROT_READ));
  check(!names());
  victim_ready();
  victim_watch(verify);
  check(!names());
  victim_pass();
}
