/*
 * A family in which not everybody runs: freeze-family [headless]. A zombie, a stopped child, a stopped child with
 * threads, a child with threads that has a child of its own from one of them; with "headless" one whose main thread has
 * ended.
 */
#include "victim.h"
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static void *idle(void *unused) {
  for (;;) pause();
  return unused;
}

static void *forks(void *unused) {
  if (fork() == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) pause();
  }
  return idle(unused);
}

static void threads(int count, void *(*first)(void *)) {
  pthread_t thread;
  for (int i = 0; i < count; i++) check(pthread_create(&thread, 0, i ? idle : first, 0) == 0);
}

static pid_t child(void (*live)(void)) {
  pid_t pid = fork();
  if (pid != 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  alarm(600);
  live();
  for (;;) pause();
}

static void zombie(void) { _exit(3); }
static void stopped(void) { raise(SIGSTOP); }
static void stopped_threads(void) {
  /* In an orphaned process group SIGTSTP stops nobody. */
  check(setpgid(0, 0) == 0);
  threads(3, idle);
  raise(SIGTSTP);
}
static void forking_thread(void) { threads(2, forks); }
static void headless(void) {
  threads(2, idle);
  pthread_exit(0);
}

int main(int argc, char **argv) {
  alarm(600);
  pid_t dead = child(zombie);
  pid_t still[] = {child(stopped), child(stopped_threads)};
  pid_t busy = child(forking_thread), without = 0;
  if (argc > 1 && !strcmp(argv[1], "headless")) without = child(headless);
  int status;
  for (int i = 0; i < 2; i++) check(waitpid(still[i], &status, WUNTRACED) == still[i] && WIFSTOPPED(status));
  victim_nap(50);
  victim_ready();
  victim_wait();
  check(waitpid(dead, &status, WNOHANG) == dead && WIFEXITED(status) && WEXITSTATUS(status) == 3, "status %x", status);
  for (int i = 0; i < 2; i++) {
    check(waitpid(still[i], &status, WNOHANG | WUNTRACED | WCONTINUED) == 0, "child %d: status %x", i, status);
    check(kill(still[i], SIGCONT) == 0 && waitpid(still[i], &status, WCONTINUED) == still[i] && WIFCONTINUED(status));
    kill(still[i], SIGKILL);
  }
  kill(busy, SIGKILL);
  if (without) kill(without, SIGKILL);
  victim_pass();
}
