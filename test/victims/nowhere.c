/*
 * A sandbox as browsers make it without privileges: in a user namespace of its own, its root and its working directory
 * are /proc/PID/fdinfo of a process that has ended. Nothing is found there, and nobody can go there any more.
 */
#include "victim.h"
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static int question[2], answer[2];

static void put(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  check(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s", path);
  close(fd);
}

static int moves_away(void *unused) {
  (void)unused;
  /* What is not a descriptor of this process is not found in it. */
  return chroot("/proc/self/fdinfo/") || chdir("/");
}

static char places(void) {
  struct stat root, other;
  if (stat("/", &root) || !S_ISDIR(root.st_mode)) return 'n';
  /* Even a look at "." needs a permission that depends on the process. */
  if (!stat(".", &other) || errno != ESRCH || !stat("/proc", &other) || errno != ESRCH) return 'n';
  return 'y';
}

static void sandbox(void) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  check(!setresgid(1000, 1000, 1000) && !setresuid(1000, 1000, 1000) && !prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
  check(!unshare(CLONE_NEWUSER));
  put("/proc/self/uid_map", "1000 1000 1");
  put("/proc/self/setgroups", "deny");
  put("/proc/self/gid_map", "1000 1000 1");
  static char stack[64 << 10];
  pid_t mover = clone(moves_away, stack + sizeof stack, CLONE_FS | SIGCHLD, 0);
  int status;
  check(mover > 0 && waitpid(mover, &status, 0) == mover && status == 0, "the sandbox is not made");
  struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct none[2] = {{0}};
  check(!syscall(SYS_capset, &head, none));
  for (char byte; read(question[0], &byte, 1) == 1;) {
    char said = places();
    check(write(answer[1], &said, 1) == 1);
  }
  _exit(0);
}

static void verify(void) {
  char said = 0;
  check(write(question[1], "?", 1) == 1 && read(answer[0], &said, 1) == 1);
  check(said == 'y');
}

int main(void) {
  check(!pipe2(question, O_CLOEXEC) && !pipe2(answer, O_CLOEXEC));
  pid_t child = fork();
  if (!child) sandbox();
  check(child > 0);
  verify();
  victim_ready();
  victim_watch(verify);
  kill(child, SIGKILL);
  check(waitpid(child, 0, 0) == child);
  victim_pass();
}
