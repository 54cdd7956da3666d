/*
 * A file, a directory and a bound socket that are mounted over: the file system that they are on is not reachable by
 * their paths any more. One is on a mount with another mount on top, the others are below a directory of a mount.
 */
#include "victim.h"
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>

static int directory, file, listener, inner;

static void verify(void) {
  struct stat a, b, c;
  check(!fstat(file, &a) && !fstatat(directory, "file", &b, 0) && a.st_ino == b.st_ino && a.st_dev == b.st_dev);
  check(stat("over/file", &c) && errno == ENOENT && a.st_nlink == 1);
  char text[16] = "";
  check(pread(file, text, sizeof text, 0) == 5 && !strcmp(text, "below"), "%s", text);
  check(pread(inner, text, sizeof text, 0) == 5 && !memcmp(text, "inner", 5), "%s", text);
}

/* Connects to the socket by way of its directory. */
static void knock(void) {
  char text[1];
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  snprintf(name.sun_path, sizeof name.sun_path, "/proc/self/fd/%d/socket", directory);
  int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  check(client >= 0 && !connect(client, (struct sockaddr *)&name, sizeof name));
  int server = accept4(listener, 0, 0, SOCK_CLOEXEC);
  check(server >= 0 && write(client, "x", 1) == 1 && read(server, text, 1) == 1 && !close(client) && !close(server));
}

int main(void) {
  check(!unshare(CLONE_NEWNS) && !mount(0, "/", 0, MS_PRIVATE | MS_REC, 0));
  check(!mkdir("over", 0700) && !mkdir("twice", 0700));
  file = open("over/file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  check(file >= 0 && write(file, "below", 5) == 5);
  directory = open("over", O_PATH | O_DIRECTORY | O_CLOEXEC);
  listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "over/socket"};
  check(directory >= 0 && !bind(listener, (struct sockaddr *)&name, sizeof name) && !listen(listener, 5));
  check(!mount("over", "over", "tmpfs", 0, 0));
  check(!mount("one", "twice", "tmpfs", 0, 0));
  inner = open("twice/inner", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  check(inner >= 0 && write(inner, "inner", 5) == 5 && !mount("other", "twice", "tmpfs", 0, 0));
  victim_ready();
  victim_watch(verify);
  knock();
  victim_pass();
}
