/*
 * A thread with a descriptor table, and a root, working directory and umask of its own, which hold the same as those
 * of its process. At the end it changes them, and the process must not see that.
 *
 *   ownfiles        as told
 *   ownfiles WHAT   not the same: its directory (cwd), its umask (umask), a descriptor (fd), its flags (cloexec), or
 *                   it has locked a part of a file (lock)
 */
#include "victim.h"
#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>

static pthread_barrier_t ready, asked, changed;
static const char *what = "";
static int file;

static bool is(const char *name) { return !strcmp(what, name); }

static void *stay(void *unused) {
  check(!unshare(CLONE_FILES | CLONE_FS));
  if (is("cwd")) check(!chdir("/"));
  if (is("umask")) umask(077);
  if (is("fd")) check(!close(file));
  if (is("cloexec")) check(!fcntl(file, F_SETFD, FD_CLOEXEC));
  if (is("lock")) check(!fcntl(file, F_SETLK, &(struct flock){.l_type = F_WRLCK, .l_len = 5}));
  pthread_barrier_wait(&ready);
  pthread_barrier_wait(&asked);
  check(!close(file) && !chdir("/"));
  umask(077);
  pthread_barrier_wait(&changed);
  return unused;
}

int main(int argc, char **argv) {
  char before[200], after[200];
  pthread_t thread;
  if (argc > 1) what = argv[1];
  umask(027);
  file = open("file", O_RDWR | O_CREAT, 0600);
  check(file >= 0 && getcwd(before, sizeof before));
  pthread_barrier_init(&ready, NULL, 2), pthread_barrier_init(&asked, NULL, 2), pthread_barrier_init(&changed, NULL, 2);
  check(!pthread_create(&thread, NULL, stay, NULL));
  pthread_barrier_wait(&ready);
  victim_ready();
  victim_wait();
  pthread_barrier_wait(&asked);
  pthread_barrier_wait(&changed);
  check(fcntl(file, F_GETFD) == 0, "the table is one");
  check(getcwd(after, sizeof after) && !strcmp(before, after), "%.200s", after);
  check(umask(0) == 027);
  victim_pass();
}
