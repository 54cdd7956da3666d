/* What a member of a random tree does about open files. What cannot be done here is left out: nobody counts on it. */
#ifndef RANDOM_TREE_FILES_H
#define RANDOM_TREE_FILES_H
#include "random-tree.h"
#include <pty.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <termios.h>

static char stuff[1 << 16];
/* Something of a random length, other each time. */
static size_t make_stuff(int most) {
  int length = 1 + roll(most);
  fill_known(stuff, (length + 7) & ~7, dice_seed + dice_turn);
  return length;
}

static int cloexec(void) { return chance(40) ? O_CLOEXEC : 0; }

/* Other numbers than the next ones. */
static void scatter(int fd) {
  if (fd < 0 || !chance(30)) return;
  int to = 20 + roll(900);
  if (!open_fd(to)) keep(dup3(fd, to, chance(50) ? O_CLOEXEC : 0));
}

static void do_file(void) {
  const char *path = fresh_path("file");
  int fd = open(path, O_RDWR | O_CREAT | O_EXCL | cloexec(), 0600 + roll(0200));
  if (fd < 0) return;
  size_t length = make_stuff(60000);
  if (write(fd, stuff, length) < 0) fail("write: %s", strerrorname_np(errno));
  lseek(fd, roll(length + 100), SEEK_SET);
  keep(fd);
  static const int modes[] = {O_RDONLY, O_WRONLY, O_RDWR, O_WRONLY | O_APPEND, O_RDWR | O_NONBLOCK, O_PATH, O_RDWR | O_SYNC};
  for (int i = roll(3); i > 0; i--) {
    int other = keep(open(path, modes[roll(7)] | cloexec()));
    if (other >= 0 && chance(50)) lseek(other, roll(length), SEEK_SET);
  }
  if (chance(25)) unlink(path);
  scatter(fd);
}

static void do_directory(void) {
  const char *path = fresh_path("dir");
  if (mkdir(path, 0700 + roll(0100))) return;
  keep(open(path, O_RDONLY | O_DIRECTORY | cloexec()));
  if (chance(30) && !chdir(path) && chance(40)) rmdir(path);
}

static void do_pipe(void) {
  int ends[2];
  bool packets = chance(10); /* which nobody can carry once there are some */
  if (pipe2(ends, (chance(30) ? O_NONBLOCK : 0) | (packets ? O_DIRECT : 0) | cloexec())) return;
  keep(ends[0]);
  keep(ends[1]);
  if (chance(30)) fcntl(ends[1], F_SETPIPE_SZ, 4096 << roll(9));
  for (int i = packets && !chance(5) ? 0 : roll(4); i > 0; i--) {
    int flags = fcntl(ends[1], F_GETFL);
    fcntl(ends[1], F_SETFL, flags | O_NONBLOCK);
    if (write(ends[1], stuff, make_stuff(9000)) < 0) i = 1;
    fcntl(ends[1], F_SETFL, flags);
  }
  if (chance(20)) {
    /* Another description of the same pipe. */
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", ends[roll(2)]);
    keep(open(path, O_RDWR | O_NONBLOCK | cloexec()));
  }
  scatter(ends[roll(2)]);
}

static void do_half_pipe(void) {
  int ends[2];
  if (pipe2(ends, cloexec())) return;
  int kept = roll(2);
  if (write(ends[1], stuff, make_stuff(4000)) < 0) fail("write: %s", strerrorname_np(errno));
  keep(ends[kept]);
  close(ends[1 - kept]);
}

static void do_fifo(void) {
  const char *path = fresh_path("fifo");
  if (mkfifo(path, 0600)) return;
  int both = keep(open(path, O_RDWR | O_NONBLOCK | cloexec()));
  if (both >= 0 && chance(60) && write(both, stuff, make_stuff(4000)) < 0) return;
  if (chance(50)) keep(open(path, O_RDONLY | O_NONBLOCK));
  if (chance(50)) keep(open(path, O_WRONLY | O_NONBLOCK));
}

static void do_sockets(void) {
  static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
  int ends[2];
  if (socketpair(AF_UNIX, types[roll(3)] | (chance(30) ? SOCK_NONBLOCK : 0) | (chance(40) ? SOCK_CLOEXEC : 0), 0, ends))
    return;
  keep(ends[0]);
  keep(ends[1]);
  for (int side = 0; side < 2; side++)
    for (int i = roll(3); i > 0; i--) send(ends[side], stuff, make_stuff(3000), MSG_DONTWAIT);
  if (chance(20)) shutdown(ends[0], roll(3));
  int on = 1;
  if (chance(20)) setsockopt(ends[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
  int carried = any_fd();
  if (chance(20) && carried >= 0 && !(fcntl(carried, F_GETFL) & O_PATH)) {
    /* A descriptor on its way. */
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec iov = {"x", 1};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(part), &carried, sizeof carried);
    sendmsg(ends[0], &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  }
  if (chance(15)) close(ends[1]);
  scatter(ends[0]);
}

static void do_eventfd(void) {
  int fd = keep(eventfd(roll(5), (chance(50) ? EFD_SEMAPHORE : 0) | (chance(50) ? EFD_NONBLOCK : 0) | cloexec()));
  scatter(fd);
}

static void do_timerfd(void) {
  static const int clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_REALTIME_ALARM};
  int clock = clocks[roll(4)];
  int fd = keep(timerfd_create(clock, (chance(50) ? TFD_NONBLOCK : 0) | (chance(40) ? TFD_CLOEXEC : 0)));
  if (fd < 0 || chance(25)) return;
  struct itimerspec t = {{chance(50) ? 7200 : 0, roll(1000)}, {(2 + roll(50)) * 3600, 0}};
  int flags = 0;
  if (chance(40)) {
    struct timespec now;
    clock_gettime(clock, &now);
    t.it_value.tv_sec += now.tv_sec;
    flags = TFD_TIMER_ABSTIME | (chance(50) ? TFD_TIMER_CANCEL_ON_SET : 0);
  }
  timerfd_settime(fd, flags, &t, 0);
}

static void do_signalfd(void) {
  uint64_t mask = known_word(dice_seed, dice_turn++);
  keep(syscall(SYS_signalfd4, -1, &mask, 8l, (chance(50) ? O_NONBLOCK : 0) | cloexec()));
}

static void do_epoll(void) {
  int set = keep(epoll_create1(chance(40) ? EPOLL_CLOEXEC : 0));
  if (set < 0) return;
  for (int i = roll(6); i > 0; i--) {
    int fd = any_fd();
    struct epoll_event event = {EPOLLIN | (chance(30) ? EPOLLOUT : 0) | (chance(30) ? EPOLLET : 0) |
                                    (chance(20) ? EPOLLONESHOT : 0) | (chance(20) ? EPOLLRDHUP : 0),
                                {.u64 = known_word(dice_seed, dice_turn++)}};
    if (fd >= 0) epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
  }
}

static void do_inotify(void) {
  int fd = keep(inotify_init1((chance(50) ? IN_NONBLOCK : 0) | (chance(40) ? IN_CLOEXEC : 0)));
  if (fd < 0) return;
  const char *path = fresh_path("watched");
  close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  int first = inotify_add_watch(fd, path, IN_ATTRIB | IN_DELETE_SELF);
  mkdir(path = fresh_path("watched"), 0700);
  inotify_add_watch(fd, path, IN_CREATE | (chance(50) ? IN_ONESHOT : 0));
  if (chance(30)) inotify_rm_watch(fd, first);
  /* What that tells, nobody is to find: it would be dropped, which is another test. */
  ssize_t n;
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  while ((n = read(fd, stuff, sizeof stuff)) > 0) {
  }
}

static void do_memfd(void) {
  int fd = keep(memfd_create("random", (chance(40) ? MFD_CLOEXEC : 0) | MFD_ALLOW_SEALING));
  if (fd < 0) return;
  size_t length = make_stuff(60000);
  if (write(fd, stuff, length) < 0) fail("write: %s", strerrorname_np(errno));
  lseek(fd, roll(length), SEEK_SET);
  if (chance(40)) fcntl(fd, F_ADD_SEALS, roll(8));
  if (chance(40)) keep_region(mmap(0, 8 * PAGE, PROT_READ, MAP_SHARED, fd, 0), 8 * PAGE);
  scatter(fd);
}

static void do_pidfd(void) {
  int other = control->slot[roll(control->members)].pid;
  keep(syscall(SYS_pidfd_open, chance(40) || !other ? getpid() : other, chance(50) ? O_NONBLOCK : 0));
}

static void do_device(void) {
  static const char *const names[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/urandom"};
  keep(open(names[roll(4)], (chance(50) ? O_RDWR : O_RDONLY) | cloexec()));
}

static void do_lock(void) {
  int fd = any_fd();
  if (fd < 0) return;
  struct stat status;
  if (fstat(fd, &status) || !S_ISREG(status.st_mode)) return;
  struct flock record = {.l_type = chance(50) ? F_WRLCK : F_RDLCK, .l_start = roll(500), .l_len = roll(300)};
  switch (roll(3)) {
    case 0: flock(fd, (chance(50) ? LOCK_SH : LOCK_EX) | LOCK_NB); break;
    case 1: fcntl(fd, F_SETLK, &record); break;
    case 2: fcntl(fd, F_OFD_SETLK, &record); break;
  }
}

static void do_lease(void) {
  const char *path = fresh_path("leased");
  close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  int fd = keep(open(path, O_RDONLY | cloexec()));
  if (fd >= 0) fcntl(fd, F_SETLEASE, F_RDLCK);
}

static void do_owner(void) {
  int fd = any_fd();
  if (fd < 0) return;
  fcntl(fd, F_SETOWN, chance(50) ? getpid() : -getpgrp());
  if (chance(50)) fcntl(fd, F_SETSIG, SIGRTMIN + 5);
}

static void do_pty(void) {
  struct winsize window = {20 + roll(40), 60 + roll(100), 0, 0};
  int master, slave;
  char name[100];
  if (openpty(&master, &slave, name, 0, &window)) return;
  keep(master);
  struct termios t;
  tcgetattr(slave, &t);
  if (chance(50)) cfmakeraw(&t);
  t.c_cc[VINTR] = 1 + roll(20);
  tcsetattr(slave, TCSANOW, &t);
  if (chance(30)) keep(open(name, O_RDWR | O_NOCTTY | cloexec()));
  if (getsid(0) == getpid() && chance(60) && !ioctl(slave, TIOCSCTTY, 0) && chance(40)) tcsetpgrp(slave, getpgrp());
  if (chance(40) && write(slave, "to the master\n", 14) < 0) return;
  if (chance(15)) close(slave);
  else keep(slave);
}

static void do_dup(void) {
  int fd = any_fd();
  if (fd < 0) return;
  keep(dup(fd));
  scatter(fd);
}

static void do_close(void) {
  int fd = any_fd();
  if (fd > 2) close(fd);
}
#endif
