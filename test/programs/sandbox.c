/*
 * sandbox HOW: one that has put itself into a Landlock sandbox, where it may open no directory: as root ("root"), as a
 * user without a privilege ("user"), or only one of its threads ("thread"). Says "READY" and goes on.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int enter(void) {
  struct landlock_ruleset_attr rules = {.handled_access_fs = LANDLOCK_ACCESS_FS_READ_DIR};
  int fd = syscall(SYS_landlock_create_ruleset, &rules, sizeof rules, 0);
  if (fd < 0) return puts("SKIP: no Landlock here"), 0;
  if (syscall(SYS_landlock_restrict_self, fd, 0)) return perror("landlock_restrict_self"), 2;
  close(fd);
  if (open("/", O_RDONLY | O_DIRECTORY) >= 0 || errno != EACCES) return puts("FAIL: it may open directories"), 2;
  return 1;
}

static void *thread(void *done) {
  *(volatile int *)done = enter();
  pause();
  return 0;
}

int main(int argc, char **argv) {
  const char *how = argc > 1 ? argv[1] : "root";
  setvbuf(stdout, 0, _IOLBF, 0);
  volatile int done = -1;
  if (!strcmp(how, "user")) {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || setresgid(1234, 1234, 1234) || setresuid(1234, 1234, 1234)) return 2;
  }
  if (!strcmp(how, "thread")) {
    pthread_t id;
    pthread_create(&id, 0, thread, (void *)&done);
    while (done < 0) usleep(1000);
  } else {
    done = enter();
  }
  if (done == 0) return 0;
  if (done == 2) return 1;
  for (;;) {
    puts("READY");
    usleep(10000);
  }
}
