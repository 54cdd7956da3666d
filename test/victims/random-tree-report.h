/**
 * What a member of a random tree sees of itself: what /proc does not tell of it. One line for each thing: "name:
 * value".
 */
#ifndef RANDOM_TREE_REPORT_H
#define RANDOM_TREE_REPORT_H
#include "random-tree.h"
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <termios.h>

#define FDS 1024
#ifndef F_GETSIG
#define F_GETSIG 11
#endif

/* What waits in a pipe, which stays there: tee() copies it to another one. */
static void report_pipe(int fd) {
  int waiting = -1, flags = fcntl(fd, F_GETFL);
  ioctl(fd, FIONREAD, &waiting);
  tell(" pipe room %d waiting %d", fcntl(fd, F_GETPIPE_SZ), waiting);
  int copy[2];
  if ((flags & O_ACCMODE) == O_WRONLY || waiting <= 0 || pipe2(copy, O_CLOEXEC | O_NONBLOCK)) return;
  fcntl(copy[0], F_SETPIPE_SZ, 1 << 20);
  uint64_t sum = HASH;
  static char buffer[1 << 16];
  ssize_t total = 0, n;
  if (tee(fd, copy[1], 1 << 20, SPLICE_F_NONBLOCK) >= 0)
    for (; (n = read(copy[0], buffer, sizeof buffer)) > 0; total += n) sum = hash(sum, buffer, n);
  tell(" seen %zd %lx", total, sum);
  close(copy[0]);
  close(copy[1]);
}

static int option(int fd, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  return getsockopt(fd, SOL_SOCKET, name, &value, &size) ? -1 : value;
}

static void report_socket(int fd) {
  int waiting = -1;
  ioctl(fd, FIONREAD, &waiting);
  tell(" socket type %d waiting %d sndbuf %d rcvbuf %d passcred %d", option(fd, SO_TYPE), waiting,
       option(fd, SO_SNDBUF), option(fd, SO_RCVBUF), option(fd, SO_PASSCRED));
  static char buffer[1 << 16];
  ssize_t n = recv(fd, buffer, sizeof buffer, MSG_PEEK | MSG_DONTWAIT);
  tell(" peek %zd %s %lx", n, n < 0 ? strerrorname_np(errno) : "", n > 0 ? hash(HASH, buffer, n) : 0);
  /* A hang-up of the other side; that there is room to write depends on what the kernel counts for an skb. */
  struct pollfd poll_for = {fd, POLLIN | POLLRDHUP, 0};
  if (poll(&poll_for, 1, 0) >= 0) tell(" poll %x", poll_for.revents);
}

static void report_terminal(int fd) {
  struct termios t;
  struct winsize w;
  if (tcgetattr(fd, &t)) return;
  tell(" termios %x %x %x %x %lx", t.c_iflag, t.c_oflag, t.c_cflag, t.c_lflag, hash(HASH, t.c_cc, NCCS));
  if (!ioctl(fd, TIOCGWINSZ, &w)) tell(" window %d %d", w.ws_row, w.ws_col);
  int group = -1, session = -1, locked = -1, packet = -1, waiting = -1;
  ioctl(fd, TIOCGPGRP, &group);
  ioctl(fd, TIOCGSID, &session);
  ioctl(fd, TIOCGPTLCK, &locked);
  ioctl(fd, TIOCGPKT, &packet);
  ioctl(fd, FIONREAD, &waiting);
  tell(" foreground %d session %d locked %d packet %d waiting %d", group, session, locked, packet, waiting);
}

/* A regular file's content, by a descriptor of any mode. */
static void report_content(int fd, const struct stat *status) {
  char path[40];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  tell(" size %ld mode %o links %ld owner %d:%d", (long)status->st_size, status->st_mode, (long)status->st_nlink,
       status->st_uid, status->st_gid);
  int seals = fcntl(fd, F_GET_SEALS);
  if (seals >= 0) tell(" seals %x", seals);
  int readable = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (readable < 0) return;
  static char buffer[1 << 16];
  uint64_t sum = HASH;
  ssize_t n;
  for (off_t at = 0; (n = pread(readable, buffer, sizeof buffer, at)) > 0; at += n) sum = hash(sum, buffer, n);
  tell(" content %lx", sum);
  close(readable);
}

static void report_fd(int fd) {
  struct stat status;
  if (fstat(fd, &status)) return;
  /* Without O_LARGEFILE, which means nothing here: a terminal that was opened with TIOCGPTPEER lacks it. */
  tell("fd %d: flags %x %x", fd, fcntl(fd, F_GETFD), fcntl(fd, F_GETFL) & ~0100000);
  struct {
    int type;
    pid_t pid;
  } owner = {0};
  if (!fcntl(fd, F_GETOWN_EX, &owner) && owner.pid) tell(" owner %d %d", owner.type, owner.pid);
  if (fcntl(fd, F_GETSIG) > 0) tell(" signal %d", fcntl(fd, F_GETSIG));
  if ((fcntl(fd, F_GETFL) & O_PATH) == 0) {
    if (S_ISREG(status.st_mode)) {
      int lease = fcntl(fd, F_GETLEASE);
      if (lease != F_UNLCK) tell(" lease %d", lease);
      else report_content(fd, &status);
    }
    if (S_ISFIFO(status.st_mode)) report_pipe(fd);
    if (S_ISSOCK(status.st_mode)) report_socket(fd);
    if (S_ISCHR(status.st_mode)) report_terminal(fd);
  }
  tell("\n");
}

/* Each page: its hash, or what keeps it from being read. */
static void report_region(int i) {
  tell("region %d: %p", i, regions[i].at);
  static char page[PAGE];
  for (size_t at = 0; at < regions[i].length; at += PAGE) {
    struct {
      void *base;
      size_t length;
    } here = {page, PAGE}, there = {regions[i].at + at, PAGE};
    ssize_t got = syscall(SYS_process_vm_readv, getpid(), &here, 1l, &there, 1l, 0l);
    if (got == (ssize_t)PAGE) tell(" %x", (unsigned)hash(HASH, page, PAGE));
    else tell(" -");
  }
  tell("\n");
}

static void report_signals(void) {
  for (int number = 1; number < 65; number++) {
    struct {
      unsigned long handler, flags, restorer, mask;
    } action;
    if (syscall(SYS_rt_sigaction, number, 0l, &action, 8l)) continue;
    if (action.handler || action.flags || action.mask)
      tell("action %d: %lx %lx %lx\n", number, action.handler, action.flags, action.mask);
  }
  stack_t stack;
  if (!sigaltstack(0, &stack)) tell("altstack: %p %zx %x\n", stack.ss_sp, stack.ss_size, stack.ss_flags);
}

/* What is left of it: hours, so that the minutes a slow test may take do not show. */
static const char *left(long seconds, long fraction) {
  static char text[40];
  if (!seconds && !fraction) return "off";
  snprintf(text, sizeof text, "%ld h", (seconds + 1800) / 3600);
  return text;
}

static void report_timers(void) {
  for (int which = ITIMER_REAL; which <= ITIMER_PROF; which++) {
    struct itimerval t;
    if (!getitimer(which, &t))
      tell("itimer %d: %s interval %ld.%06ld\n", which, left(t.it_value.tv_sec, t.it_value.tv_usec),
           t.it_interval.tv_sec, t.it_interval.tv_usec);
  }
  for (int i = 0; i < timer_count; i++) {
    struct itimerspec t;
    if (timer_gettime(timers[i], &t)) tell("timer %d: %s\n", i, strerrorname_np(errno));
    else
      tell("timer %d: %s interval %ld.%09ld overrun %d\n", i, left(t.it_value.tv_sec, t.it_value.tv_nsec),
           t.it_interval.tv_sec, t.it_interval.tv_nsec, timer_getoverrun(timers[i]));
  }
}

static void report_self(void) {
  char text[300];
  int value = -1;
  tell("ids: %d parent %d group %d session %d\n", getpid(), getppid(), getpgrp(), getsid(0));
  tell("cwd: %s\n", getcwd(text, sizeof text) ? text : strerrorname_np(errno));
  mode_t mask = umask(0);
  umask(mask);
  tell("umask: %o\n", mask);
  tell("nice: %d\n", getpriority(PRIO_PROCESS, 0));
  tell("ioprio: %lx\n", syscall(SYS_ioprio_get, 1l, 0l));
  struct sched_param parameter = {0};
  sched_getparam(0, &parameter);
  tell("policy: %d %d\n", sched_getscheduler(0), parameter.sched_priority);
  /* That of the root is cleared as Stasis, its parent, ends. */
  prctl(PR_GET_PDEATHSIG, &value);
  if (me == 0) value = 0;
  tell("prctl: death %d dumpable %d keepcaps %d slack %d thp %d nnp %d securebits %x", value, prctl(PR_GET_DUMPABLE),
       prctl(PR_GET_KEEPCAPS), prctl(PR_GET_TIMERSLACK), prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0),
       prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), prctl(PR_GET_SECUREBITS));
  value = -1;
  prctl(PR_GET_CHILD_SUBREAPER, &value);
  tell(" subreaper %d tsc %d seccomp %d\n", value, prctl(PR_GET_TSC, &value) ? -1 : value, prctl(PR_GET_SECCOMP));
}

/* Everything. */
static void report(int number) {
  Slot *slot = &control->slot[me];
  slot->length = 0;
  for (int32_t nobody = 0; !atomic_compare_exchange_strong(&control->looking, &nobody, getpid()); nobody = 0) victim_nap(1);
  report_self();
  report_signals();
  report_timers();
  for (int fd = 0; fd < FDS; fd++) report_fd(fd);
  for (int i = 0; i < region_count; i++) report_region(i);
  for (int i = 0; i < pending_count; i++)
    tell("to wait %d: %d %d %ld\n", i, pending[i].number, pending[i].code, pending[i].value);
  atomic_store(&control->looking, 0);
  atomic_store(&slot->done, number);
}

/* What signals wait, with what they carry: they are taken. */
static void report_last(void) {
  Slot *slot = &control->slot[me];
  slot->length = 0;
  siginfo_t info;
  struct timespec none = {0};
  unsigned long all = ~0ul;
  for (int taken = 0; taken < 200; taken++) {
    long number = syscall(SYS_rt_sigtimedwait, &all, &info, &none, 8l);
    if (number < 0) break;
    if (number != SIGCHLD) tell("waits: %ld %d %ld\n", number, info.si_code, (long)info.si_value.sival_ptr);
  }
  atomic_store(&slot->done, LAST);
}
#endif
