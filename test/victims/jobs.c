/*
 * A terminal with a session on it: a shell, a job of two processes in the foreground, and jobs in the background that
 * the terminal has stopped, for reading and for writing. Member 0 holds the other side.
 */
#include "family.h"
#include <pty.h>
#include <sys/ioctl.h>
#include <termios.h>

enum { SCREEN, SHELL, FRONT, FRIEND, READER, WRITER, MATE, COUNT };
enum { READY_TO_CHANGE, READ, WRITTEN, INTERRUPTED }; /* words */

static int master, tty, again;
static dev_t device;

static void count_up(int word) {
  atomic_fetch_add(&family->word[word], 1);
  futex(&family->word[word], FUTEX_WAKE, INT_MAX, 0);
}

static void verify_terminal(int fd) {
  unsigned number;
  check(isatty(fd) && tcgetpgrp(fd) == pid_of(FRONT), "%d is in the foreground", tcgetpgrp(fd));
  check(tcgetsid(fd) == pid_of(SHELL), "%d", tcgetsid(fd));
  check(!ioctl(fd, TIOCGDEV, &number) && number == device, "%x, not %lx", number, device);
}

/* Of those in the session. */
static void verify(void) {
  verify_terminal(tty);
  verify_terminal(again);
  int fresh = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
  check(fresh >= 0);
  verify_terminal(fresh);
  close(fresh);
  struct termios t;
  check(!tcgetattr(tty, &t) && t.c_lflag & TOSTOP && t.c_cc[VEOL2] == 1);
}

static void verify_stopped(int member, int signal) {
  siginfo_t info = {0};
  check(process_state(pid_of(member)) == 'T', "member %d: %c", member, process_state(pid_of(member)));
  check(!waitid(P_PID, pid_of(member), &info, WSTOPPED | WNOHANG | WNOWAIT));
  check(info.si_code == CLD_STOPPED && info.si_status == signal, "member %d: %d %d", member, info.si_code,
        info.si_status);
}

static void verify_jobs(void) {
  verify();
  verify_stopped(READER, SIGTTIN);
  verify_stopped(WRITER, SIGTTOU);
  verify_stopped(MATE, SIGTTIN);
}

static void verify_master(void) {
  int front, number;
  check(!ioctl(master, TIOCGPGRP, &front) && front == pid_of(FRONT), "%d is in the foreground", front);
  check(!ioctl(master, TIOCGPTN, &number) && number == (int)(device & 0xff), "%d", number);
  check(getsid(0) != pid_of(SHELL));
}

/* The key reaches the foreground, and nobody else. */
static void interrupted(void) {
  sigset_t keys;
  sigemptyset(&keys);
  sigaddset(&keys, SIGINT);
  siginfo_t info;
  check(sigtimedwait(&keys, &info, &(struct timespec){10, 0}) == SIGINT && info.si_code == SI_KERNEL);
  count_up(INTERRUPTED);
  count_up(READY_TO_CHANGE);
}

/* The shell brings the jobs to the front, one after the other. */
static void shell_last(void) {
  await(&family->word[READY_TO_CHANGE], 3);
  sigset_t pending;
  check(!sigpending(&pending) && !sigismember(&pending, SIGINT));
  check(!tcsetpgrp(tty, pid_of(READER)) && !kill(-pid_of(READER), SIGCONT));
  await(&family->word[READ], 2);
  check(!tcsetpgrp(tty, pid_of(WRITER)) && !kill(-pid_of(WRITER), SIGCONT));
  await(&family->word[WRITTEN], 1);
}

static void screen_last(void) {
  check(write(master, "\x03", 1) == 1);
  await(&family->word[INTERRUPTED], 2);
  check(write(master, "a line\n", 7) == 7);
  count_up(READY_TO_CHANGE);
  await(&family->word[WRITTEN], 1);
  char shown[256] = {0};
  for (size_t have = 0; !strstr(shown, "a word");) {
    ssize_t n = read(master, shown + have, sizeof shown - 1 - have);
    check(n > 0, "%s", shown);
    have += n;
  }
}

/* Stopped by the terminal until the shell brings it to the front. */
static void job(int member) {
  check(!setpgid(0, member == MATE ? pid_of(READER) : 0));
  atomic_store(&family->member[member].quiet, STOPPING);
  family_born(member);
  family_settle();
  char line[32] = {0};
  if (member == READER) {
    family_await(MATE, SETTLED); /* the whole group is stopped */
    ssize_t n = read(tty, line, sizeof line - 1);
    check(n == 7 && !strcmp(line, "a line\n"), "%zd %s", n, line);
    count_up(READ);
  } else if (member == WRITER) {
    check(write(tty, "a word", 6) == 6);
    count_up(WRITTEN);
  } else {
    while (family->word[READ] == 0) family_nap();
    count_up(READ);
  }
  verify_identity();
  family_part();
}

static void front(int member) {
  check(!setpgid(0, member == FRONT ? 0 : pid_of(FRONT)));
  close(again);
  again = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  check(again >= 0);
  family_born(member);
  family_live_and(verify, interrupted);
}

static void shell(const char *name) {
  check(setsid() == getpid());
  tty = open(name, O_RDWR | O_CLOEXEC);
  again = open("/dev/tty", O_RDWR | O_CLOEXEC);
  check(tty >= 0 && again >= 0 && tcgetsid(tty) == getpid());
  struct termios t;
  check(!tcgetattr(tty, &t));
  t.c_lflag |= TOSTOP;
  t.c_cc[VEOL2] = 1;
  check(!tcsetattr(tty, TCSANOW, &t));
  for (int member = FRONT; member < COUNT; member++) {
    pid_t pid = fork();
    check(pid >= 0);
    if (pid == 0) member >= READER ? job(member) : front(member);
    family_await(member, BORN);
    if (member != FRONT) continue;
    signal(SIGTTOU, SIG_IGN);
    check(!tcsetpgrp(tty, pid));
    signal(SIGTTOU, SIG_DFL);
  }
  signal(SIGTTOU, SIG_IGN);
  family_born(SHELL);
  family_live_and(verify_jobs, shell_last);
}

int main(void) {
  family_found(COUNT);
  sigset_t keys;
  sigemptyset(&keys);
  sigaddset(&keys, SIGINT);
  sigprocmask(SIG_BLOCK, &keys, 0);
  master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
  check(master >= 0 && !grantpt(master) && !unlockpt(master));
  char name[64];
  struct stat st;
  check(!ptsname_r(master, name, sizeof name) && !stat(name, &st));
  device = st.st_rdev;
  pid_t pid = fork();
  check(pid >= 0);
  if (pid == 0) {
    close(master);
    shell(name);
  }
  family_await(SHELL, BORN);
  family_born(SCREEN);
  family_live_and(verify_master, screen_last);
}
