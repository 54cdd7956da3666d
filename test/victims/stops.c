/*
 * Stopped processes: by each signal that stops, with threads and without, with the news of it taken by the parent or
 * not; with other signals waiting for the day they go on.
 *
 *     stops [CASES [patient]]   by default all; a case is a letter of `cases` below; `patient`: a process may be seen
 *                               to run for a moment, on its way out of the work area of a Stasis that was killed
 */
#include "family.h"
#include <pthread.h>

typedef struct {
  char letter;
  int signal;
  int threads;
  bool taken;   /* the parent has taken the news by waitpid(WUNTRACED) */
  bool waiting; /* SIGUSR1 is pending, not blocked */
} Case;

static const Case cases[] = {{'a', SIGSTOP, 0, false, false}, {'b', SIGTSTP, 0, false, false},
                             {'c', SIGTTIN, 0, false, false}, {'d', SIGTTOU, 0, false, false},
                             {'e', SIGSTOP, 4, false, false}, {'f', SIGTSTP, 4, false, true},
                             {'g', SIGSTOP, 0, true, false},  {'h', SIGTTOU, 3, true, true},
                             {'i', SIGSTOP, 0, false, true}};
#define CASES (sizeof cases / sizeof *cases)

static const Case *here[CASES + 1]; /* by member */
static bool patient;
static volatile int continued, used;
static _Atomic uint64_t thread_turns[4];

static void on_continue(int signal) {
  (void)signal;
  continued++;
}

static void on_use(int signal) {
  (void)signal;
  used++;
}

static void *turn(void *argument) {
  _Atomic uint64_t *turns = argument;
  for (;;) {
    ++*turns;
    victim_nap(3);
  }
  return 0;
}

/* Stops, and checks when it goes on that nothing happened before its time. */
static void be_stopped(int member) {
  const Case *c = here[member];
  check(!setpgid(0, 0));
  sigset_t held;
  sigemptyset(&held);
  sigaddset(&held, SIGTERM);
  sigprocmask(SIG_SETMASK, &held, 0);
  struct sigaction action = {.sa_handler = on_continue, .sa_flags = SA_RESTART};
  sigaction(SIGCONT, &action, 0);
  action.sa_handler = on_use;
  sigaction(SIGUSR1, &action, 0);
  for (int i = 0; i < c->threads; i++) {
    pthread_t thread;
    check(!pthread_create(&thread, 0, turn, (void *)&thread_turns[i]));
  }
  family->member[member].quiet = STOPPING;
  family_born(member);
  family_settle();
  /* Until it is stopped, and after it has been continued. */
  while (continued == 0) {
    if (!continued) check(used == 0);
    victim_nap(3);
  }
  verify_identity();
  for (int wait = 0; used < c->waiting; wait++) {
    check(wait < 1000, "the signal that waited never came");
    victim_nap(3);
  }
  victim_nap(20);
  check(continued == 1 && used == c->waiting, "continued %d times, signalled %d times", continued, used);
  for (int i = 0; i < c->threads; i++) {
    uint64_t before = thread_turns[i];
    for (int wait = 0; thread_turns[i] == before; wait++, victim_nap(3)) check(wait < 1000, "thread %d", i);
  }
  family_part();
}

/* What the parent has not taken is there to be taken; what it has is not. */
static void verify(void) {
  for (int m = 1; m < family->count; m++) {
    const Case *c = here[m];
    siginfo_t info = {0};
    for (int wait = 0; patient && wait < 500 && process_state(pid_of(m)) != 'T'; wait++) victim_nap(1);
    check(process_state(pid_of(m)) == 'T', "case %c: %c", c->letter, process_state(pid_of(m)));
    check(!waitid(P_PID, pid_of(m), &info, WSTOPPED | WCONTINUED | WNOHANG | WNOWAIT));
    if (c->taken) check(info.si_pid == 0, "case %c: %d", c->letter, info.si_status);
    else
      check(info.si_code == CLD_STOPPED && info.si_status == c->signal, "case %c: %d %d", c->letter, info.si_code,
            info.si_status);
  }
  sigset_t pending;
  check(!sigpending(&pending) && !sigismember(&pending, SIGCHLD), "news for no reason");
}

/* Lets one after the other go on. */
static void resume(void) {
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  for (int m = 1; m < family->count; m++) {
    siginfo_t info;
    int status;
    if (!here[m]->taken)
      check(waitpid(pid_of(m), &status, WUNTRACED) == pid_of(m) && WIFSTOPPED(status) &&
                WSTOPSIG(status) == here[m]->signal, "case %c: %#x", here[m]->letter, status);
    check(waitpid(pid_of(m), &status, WUNTRACED | WNOHANG) == 0, "case %c: told twice", here[m]->letter);
    check(!kill(pid_of(m), SIGCONT));
    check(sigtimedwait(&child, &info, &(struct timespec){5, 0}) == SIGCHLD && info.si_code == CLD_CONTINUED &&
              info.si_pid == pid_of(m), "case %c: %d", here[m]->letter, info.si_code);
    pid_t told = waitpid(pid_of(m), &status, WCONTINUED);
    check(told == pid_of(m) && WIFCONTINUED(status), "case %c: %d, %#x, %c", here[m]->letter, told, status,
          process_state(pid_of(m)));
  }
}

static void stop(int m) {
  siginfo_t info;
  check(!kill(pid_of(m), here[m]->signal));
  check(!waitid(P_PID, pid_of(m), &info, WSTOPPED | (here[m]->taken ? 0 : WNOWAIT)));
  /* For when it goes on. */
  if (here[m]->waiting) check(!kill(pid_of(m), SIGUSR1));
}

int main(int argc, char **argv) {
  int members = 1;
  for (size_t i = 0; i < CASES; i++)
    if (argc < 2 || strchr(argv[1], cases[i].letter)) here[members++] = &cases[i];
  patient = argc > 2;
  family_found(members);
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child, 0);
  for (int m = 1; m < members; m++) {
    pid_t pid = fork();
    check(pid >= 0);
    if (pid == 0) be_stopped(m);
    family_await(m, BORN);
  }
  family_born(0);
  tell(&family->settle, 1);
  for (int m = 1; m < members; m++) {
    family_await(m, SETTLED);
    stop(m);
  }
  siginfo_t news;
  while (sigtimedwait(&child, &news, &(struct timespec){0, 0}) == SIGCHLD) {
  }
  family_live_and(verify, resume);
}
