/*
 * Files of /proc about the process itself and about its child, held open: wherever /proc counts processes otherwise
 * than the PID namespace of the tree does, their names change with every restore.
 */
#include "victim.h"
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define NAME "procfiles"

static pid_t child;

static struct {
  const char *below;
  bool of_child;
  int fd;
} files[] = {
    {"comm", false, -1},
    {"comm", true, -1},
    {"net/dev", false, -1},
    {"task/%d/comm", false, -1},
};

/* The number of the process (or of its child) in /proc, where it may be another one than getpid() tells. */
static int number(bool of_child) {
  char text[32] = "";
  check(readlink("/proc/self", text, sizeof text - 1) > 0);
  if (!of_child) return atoi(text);
  char path[64], line[64] = "";
  snprintf(path, sizeof path, "/proc/self/task/%s/children", text);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  check(fd >= 0 && read(fd, line, sizeof line - 1) > 0);
  close(fd);
  return atoi(line);
}

static void path_of(int i, char *path, size_t size) {
  int pid = number(files[i].of_child);
  int length = snprintf(path, size, "/proc/%d/", pid);
  snprintf(path + length, size - length, files[i].below, pid);
}

static void verify(void) {
  for (int i = 0; i < 4; i++) {
    char path[128], link[64], name[160] = "", text[64] = "";
    path_of(i, path, sizeof path);
    snprintf(link, sizeof link, "/proc/self/fd/%d", files[i].fd);
    check(readlink(link, name, sizeof name - 1) > 0);
    /* The kernel may mark a file of net as deleted when somebody else looks it up. */
    check(!strncmp(name, path, strlen(path)), "%s, not %s", name, path);
    check(pread(files[i].fd, text, sizeof text - 1, 0) > 0, "%s", name);
    if (strstr(name, "comm")) check(!strcmp(text, files[i].of_child ? "child\n" : NAME "\n"), "%s: %s", name, text);
  }
}

int main(void) {
  check(!prctl(PR_SET_NAME, NAME, 0, 0, 0));
  child = fork();
  if (!child) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "child", 0, 0, 0);
    for (;;) pause();
  }
  check(child > 0);
  victim_nap(50);
  for (int i = 0; i < 4; i++) {
    char path[128];
    path_of(i, path, sizeof path);
    files[i].fd = open(path, O_RDONLY | O_CLOEXEC);
    check(files[i].fd >= 0, "%s", path);
  }
  victim_ready();
  victim_watch(verify);
  kill(child, SIGKILL);
  check(waitpid(child, 0, 0) == child);
  victim_pass();
}
