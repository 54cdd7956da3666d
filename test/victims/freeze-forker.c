/*
 * A tree that forks and exits wildly: freeze-forker WORKERS [leave]. The root is the reaper of its orphans, unless they
 * are to leave the tree. Workers fork children; these may fork grandchildren and end before them, execute this program
 * again, start a session, or end at once. Nobody may get lost: what was begun has ended, in the end.
 */
#include "victim.h"
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/* In a file, for those who have executed the program anew. */
typedef struct {
  atomic_long begun, ended, alive, stop;
} Shared;
static Shared *shared;
#define MOST_ALIVE 60

static void map_shared(void) {
  int fd = open("shared", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  check(fd >= 0);
  check(ftruncate(fd, 4096) == 0);
  shared = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  check(shared != MAP_FAILED);
  close(fd);
}

static unsigned dice;
static unsigned roll(unsigned sides) {
  dice = dice * 1664525 + 1013904223;
  return (dice >> 16) % sides;
}

static void __attribute__((noreturn)) end(void) {
  shared->alive--;
  shared->ended++;
  _exit(0);
}

static void work(void) {
  for (volatile unsigned i = roll(20000); i > 0; i--) {
  }
}

/* Counted before it exists, so that no moment sees fewer. */
static pid_t begin(void) {
  shared->begun++;
  shared->alive++;
  pid_t pid = fork();
  if (pid < 0) {
    shared->begun--;
    shared->alive--;
  }
  if (pid == 0) dice ^= getpid() * 2654435761u;
  return pid;
}

static void __attribute__((noreturn)) child(int depth) {
  alarm(600);
  work();
  switch (roll(5)) {
    case 0:
      if (depth < 6 && shared->alive < MOST_ALIVE && !shared->stop && begin() == 0) child(depth + 1);
      end();
    case 1:
      if (depth < 6 && shared->alive < MOST_ALIVE && !shared->stop && begin() == 0) child(depth + 1);
      work();
      while (wait(0) > 0) {
      }
      end();
    case 2:
      execl("/proc/self/exe", "freeze-forker", "again", (char *)0);
      fail("exec");
    case 3:
      setsid();
      work();
      end();
    default:
      end();
  }
}

int main(int argc, char **argv) {
  map_shared();
  if (argc > 1 && !strcmp(argv[1], "again")) {
    dice = getpid();
    work();
    end();
  }
  int workers = argc > 1 ? atoi(argv[1]) : 8;
  if (argc < 3) check(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
  dice = getpid();
  for (int i = 0; i < workers; i++) {
    if (begin() != 0) continue;
    alarm(600);
    while (!shared->stop) {
      if (shared->alive < MOST_ALIVE && begin() == 0) child(0);
      while (waitpid(-1, 0, roll(2) ? WNOHANG : 0) > 0) {
      }
    }
    while (wait(0) > 0) {
    }
    end();
  }
  victim_ready();
  alarm(600);
  while (!victim_asked()) {
    while (waitpid(-1, 0, WNOHANG) > 0) {
    }
    victim_nap(1);
  }
  shared->stop = 1;
  while (wait(0) > 0 || errno == EINTR) {
  }
  for (int i = 0; i < 1000 && shared->alive > 0; i++) victim_nap(5);
  check(shared->begun == shared->ended && shared->alive == 0, "%ld begun, %ld ended, %ld alive", (long)shared->begun,
        (long)shared->ended, (long)shared->alive);
  victim_pass();
}
