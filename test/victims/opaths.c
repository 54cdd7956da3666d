/*
 * Descriptors that are only names (O_PATH) of every sort of file, with a name and without; directories that are gone,
 * one in the other; a directory that was opened by its handle.
 */
#include "victim.h"
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#define MOST 32

static struct {
  int fd;
  mode_t type;
  bool gone;
  char link[200];
} held[MOST];
static int count;

static void link_of(int fd, char *to, size_t room) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(path, to, room - 1);
  check(n > 0);
  to[n] = 0;
}

static void hold(int fd, mode_t type, bool gone) {
  check(fd >= 0 && count < MOST, "number %d", count);
  held[count].fd = fd;
  held[count].type = type;
  held[count].gone = gone;
  count++;
}

static void make(const char *name, mode_t type) {
  struct sockaddr_un address = {AF_UNIX};
  int fd = -1;
  snprintf(address.sun_path, sizeof address.sun_path, "%s", name);
  switch (type) {
    case S_IFDIR: check(!mkdir(name, 0700)); return;
    case S_IFLNK: check(!symlink("nowhere", name)); return;
    case S_IFSOCK:
      fd = socket(AF_UNIX, SOCK_STREAM, 0);
      check(fd >= 0 && !bind(fd, (void *)&address, sizeof address) && !close(fd));
      return;
    default: check(!mknod(name, type | 0600, type == S_IFCHR ? makedev(10, 229) : 0)); return;
  }
}

static void verify(void) {
  for (int i = 0; i < count; i++) {
    struct stat s;
    char link[200], byte;
    check(!fstat(held[i].fd, &s) && (s.st_mode & S_IFMT) == held[i].type, "number %d", i);
    check((s.st_nlink == 0) == held[i].gone || (held[i].type == S_IFDIR && held[i].gone), "number %d", i);
    link_of(held[i].fd, link, sizeof link);
    check(!strcmp(link, held[i].link), "%s, not %s", link, held[i].link);
    if (!(fcntl(held[i].fd, F_GETFL) & O_PATH)) continue;
    check(read(held[i].fd, &byte, 1) == -1 && errno == EBADF);
  }
}

static void by_handle(const char *name) {
  struct {
    struct file_handle handle;
    char room[128];
  } h = {{.handle_bytes = 128}};
  int mount, home = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (!name_to_handle_at(AT_FDCWD, name, &h.handle, &mount, 0)) {
    int fd = open_by_handle_at(home, &h.handle, O_RDONLY | O_DIRECTORY);
    if (fd >= 0) hold(fd, S_IFDIR, false);
  }
  close(home);
}

int main(void) {
  static const mode_t types[] = {S_IFREG, S_IFDIR, S_IFLNK, S_IFSOCK, S_IFIFO, S_IFCHR};
  char name[32];
  for (unsigned i = 0; i < 2 * sizeof types / sizeof *types; i++) {
    mode_t type = types[i / 2];
    snprintf(name, sizeof name, "name-%u", i);
    make(name, type);
    hold(open(name, O_PATH | O_NOFOLLOW | O_CLOEXEC), type, i % 2);
    if (i % 2) check(type == S_IFDIR ? !rmdir(name) : !unlink(name));
  }
  hold(open("/dev/tty", O_PATH), S_IFCHR, false);
  hold(open("/dev/ptmx", O_PATH), S_IFCHR, false);
  make("outer", S_IFDIR);
  make("outer/inner", S_IFDIR);
  make("handle", S_IFDIR);
  by_handle("handle");
  hold(open("outer", O_RDONLY | O_DIRECTORY), S_IFDIR, true);
  hold(open("outer/inner", O_RDONLY | O_DIRECTORY), S_IFDIR, true);
  hold(open("outer/inner", O_PATH), S_IFDIR, true);
  check(!rmdir("outer/inner") && !rmdir("outer"));
  for (int i = 0; i < count; i++) link_of(held[i].fd, held[i].link, sizeof held[i].link);
  victim_ready();
  victim_loop(verify);
}
