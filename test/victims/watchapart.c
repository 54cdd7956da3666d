/*
 * A process watches a directory and a file that it has come to through a child: they are on a file system that is
 * mounted in the mount namespace of the child alone.
 */
#include "victim.h"
#include <sched.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static pid_t child;
static int notify, turn;

/* A path by way of the child's root. */
static const char *there(const char *name) {
  static char path[256], here[128];
  check(getcwd(here, sizeof here) != 0);
  snprintf(path, sizeof path, "/proc/%d/root%s/apart%s", (int)child, here, name);
  return path;
}

static void expect(uint32_t mask) {
  char buffer[1024];
  int length = read(notify, buffer, sizeof buffer);
  check(length > 0, "nothing has been told");
  const struct inotify_event *event = (void *)buffer;
  check(event->mask & mask, "mask %x", event->mask);
}

static void verify(void) {
  char name[32];
  snprintf(name, sizeof name, "/new-%d", turn++);
  int fd = open(there(name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  check(fd >= 0);
  close(fd);
  expect(IN_CREATE);
  check(!unlink(there(name)));
  fd = open(there("/file"), O_WRONLY | O_CLOEXEC);
  check(fd >= 0 && write(fd, "x", 1) == 1);
  close(fd);
  expect(IN_MODIFY);
}

static void live_apart(int told) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  check(!unshare(CLONE_NEWNS) && !mount(0, "/", 0, MS_PRIVATE | MS_REC, 0));
  check(!mount("apart", "apart", "tmpfs", 0, 0), "tmpfs");
  int fd = open("apart/file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  check(fd >= 0);
  close(fd);
  check(write(told, "", 1) == 1);
  close(told);
  for (;;) pause();
}

int main(void) {
  int told[2];
  char byte;
  check(!mkdir("apart", 0700) && !pipe2(told, O_CLOEXEC));
  child = fork();
  if (!child) live_apart(told[1]);
  check(child > 0 && read(told[0], &byte, 1) == 1);
  close(told[0]), close(told[1]);
  notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  check(notify >= 0 && inotify_add_watch(notify, there(""), IN_CREATE) > 0);
  check(inotify_add_watch(notify, there("/file"), IN_MODIFY) > 0);
  victim_ready();
  victim_watch(verify);
  kill(child, SIGKILL);
  check(waitpid(child, 0, 0) == child);
  victim_pass();
}
