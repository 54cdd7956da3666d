/*
 * Pairs of unix sockets: what waits in them, options, directions shut down, ends that are closed, files on their way.
 * With an argument only what CRIU 4.2 carries as well.
 */
#include "victim.h"
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>

#define LARGE 70000

static int stream[2], datagram[2], sequence[2]; /* messages wait */
static int half[2], widow, spurned, orphan, single[3]; /* ends */
static int tuned[2], told[2], stamped[2]; /* options, credentials */
static int watcher[2], carrier[2], far_end, circle[2]; /* files on their way */
static char block[LARGE];
static bool plain;

static int events(int fd) {
  struct pollfd p = {fd, POLLIN | POLLOUT | POLLRDHUP, 0};
  poll(&p, 1, 0);
  return p.revents;
}

static int number(int fd, int option) {
  int value = -99;
  socklen_t length = sizeof value;
  getsockopt(fd, SOL_SOCKET, option, &value, &length);
  return value;
}

static void set(int fd, int option, int value) { check(!setsockopt(fd, SOL_SOCKET, option, &value, sizeof value)); }

static void pair(int type, int *fds) { check(!socketpair(AF_UNIX, type, 0, fds)); }

/* Whether a byte waits, which is left there. */
static bool waits(int fd, char byte) {
  char got;
  return recv(fd, &got, 1, MSG_PEEK | MSG_DONTWAIT) == 1 && got == byte;
}

/* A message that is received and sent again, so that the next look finds the same. */
static void turn(const int *fds, const char *want, int size) {
  static char got[LARGE + 1];
  int n = recv(fds[0], got, sizeof got, MSG_DONTWAIT);
  check(n == size && !memcmp(got, want, size), "%d bytes came, not %d", n, size);
  check(send(fds[1], got, size, MSG_DONTWAIT) == size);
}

static void turn_messages(const int *fds) {
  turn(fds, "one", 3);
  if (!plain) turn(fds, "", 0);
  turn(fds, block, LARGE);
  turn(fds, "last", 4);
}

typedef union {
  struct cmsghdr head;
  char room[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(8 * sizeof(int))];
} Control;

/* Sends a message with control data of one kind. */
static void pass(int via, const char *text, int type, const void *data, size_t size) {
  Control control = {.head = {CMSG_LEN(size), SOL_SOCKET, type}};
  memcpy(CMSG_DATA(&control.head), data, size);
  struct iovec iov = {(void *)text, strlen(text)};
  struct msghdr message = {0, 0, &iov, 1, &control, CMSG_SPACE(size), 0};
  check(sendmsg(via, &message, MSG_DONTWAIT) == (ssize_t)iov.iov_len, "(%s)", text);
}

/* Takes a message; answers how many bytes of control data of the kind came with it. */
static size_t take(int via, const char *want, int type, void *data) {
  char text[64];
  Control control;
  struct iovec iov = {text, sizeof text};
  struct msghdr message = {0, 0, &iov, 1, &control, sizeof control, 0};
  ssize_t n = recvmsg(via, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  check(n == (ssize_t)strlen(want) && !memcmp(text, want, n), "%zd bytes came, not %s", n, want);
  check(!(message.msg_flags & (MSG_CTRUNC | MSG_TRUNC)));
  struct cmsghdr *c = CMSG_FIRSTHDR(&message);
  if (!c || c->cmsg_type != type) return 0;
  memcpy(data, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
  return c->cmsg_len - CMSG_LEN(0);
}

static void queues(void) {
  turn(stream, block, LARGE);
  int back[2] = {stream[1], stream[0]};
  turn(back, "back", 4);
  turn_messages(datagram);
  turn_messages(sequence);
  check(number(stream[0], SO_PEEK_OFF) == -1 && number(datagram[0], SO_PEEK_OFF) == -1);
}

static void ends(void) {
  check(waits(half[1], 'r') && (events(half[1]) & (POLLRDHUP | POLLOUT)) == (POLLRDHUP | POLLOUT));
  check(send(half[0], "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
  check(!(events(half[0]) & POLLRDHUP) && !(events(half[0]) & POLLIN));
  check((events(widow) & POLLHUP) && waits(widow, 'w'));
  check(send(widow, "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
  check(waits(orphan, 'o'));
  check(plain || (events(spurned) & POLLERR));
  for (int i = 0; i < 3; i++) check(send(single[i], "x", 1, MSG_NOSIGNAL) < 0 && errno == ENOTCONN);
}

static void options(void) {
  struct timeval time;
  struct linger linger;
  struct ucred maker;
  socklen_t length = sizeof time;
  check(!getsockopt(tuned[0], SOL_SOCKET, SO_RCVTIMEO, &time, &length) && time.tv_sec == 3 && time.tv_usec == 500000);
  length = sizeof linger;
  check(!getsockopt(tuned[0], SOL_SOCKET, SO_LINGER, &linger, &length) && linger.l_onoff && linger.l_linger == 5);
  length = sizeof maker;
  check(!getsockopt(tuned[0], SOL_SOCKET, SO_PEERCRED, &maker, &length));
  check(maker.pid == getpid(), "%d", maker.pid);
  check(plain || (maker.uid == 1234 && maker.gid == 4321), "%d %d %d", maker.pid, maker.uid, maker.gid);
  check(number(tuned[0], SO_SNDBUF) == 40000 && number(tuned[0], SO_RCVBUF) == 50000);
  check(number(tuned[1], SO_SNDBUF) != 40000 && number(tuned[0], SO_PRIORITY) == 4);
  check(number(tuned[0], SO_RCVLOWAT) == 7 && number(tuned[0], SO_KEEPALIVE) == 1 && number(tuned[0], SO_REUSEADDR) == !plain);
  check((fcntl(tuned[0], F_GETFL) & (O_NONBLOCK | O_ASYNC)) == (O_NONBLOCK | O_ASYNC));
  check(fcntl(tuned[0], F_GETOWN) == getpid() && fcntl(tuned[0], F_GETSIG) == SIGURG);
}

static void more_options(void) {
  check(number(tuned[0], SO_TIMESTAMP) == 1 && number(tuned[1], SO_TIMESTAMP) == 0);
  /* Where peeking begins moves on with every look. */
  check(number(tuned[0], SO_PEEK_OFF) == 2 && waits(tuned[0], 'c') && number(tuned[0], SO_PEEK_OFF) == 3);
  set(tuned[0], SO_PEEK_OFF, 2);
  check(number(told[0], SO_PASSCRED) == 1 && number(told[1], SO_PASSCRED) == 0);
  struct ucred sender;
  check(take(told[0], "hello", SCM_CREDENTIALS, &sender) == sizeof sender);
  check(sender.pid == getpid() && sender.uid == 77 && sender.gid == 88, "%d %d", sender.pid, sender.uid);
  pass(told[1], "hello", SCM_CREDENTIALS, &sender, sizeof sender);
}

static void on_the_way(void) {
  int fds[2];
  char text[8];
  check(take(carrier[0], "pipe", SCM_RIGHTS, fds) == sizeof fds);
  check(read(fds[0], text, 8) == 3 && !memcmp(text, "abc", 3) && write(fds[1], "abc", 3) == 3);
  pass(carrier[1], "pipe", SCM_RIGHTS, fds, sizeof fds);
  close(fds[0]), close(fds[1]);
  check(take(carrier[0], "end", SCM_RIGHTS, fds) == sizeof *fds);
  check(recv(fds[0], text, 8, MSG_DONTWAIT) == 5 && !memcmp(text, "inner", 5) && send(fds[0], "outer", 5, 0) == 5);
  check(recv(far_end, text, 8, MSG_DONTWAIT) == 5 && !memcmp(text, "outer", 5) && send(far_end, "inner", 5, 0) == 5);
  pass(carrier[1], "end", SCM_RIGHTS, fds, sizeof *fds);
  close(fds[0]);
}

/* The message tells when it came, and by whom. */
static void stamps(void) {
  char text[8];
  union {
    struct cmsghdr head;
    char room[200];
  } control;
  struct iovec iov = {text, sizeof text};
  struct msghdr message = {0, 0, &iov, 1, &control, sizeof control, 0};
  check(recvmsg(stamped[0], &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) == 5 && !memcmp(text, "stamp", 5));
  int seen = 0, pidfd = -1;
  for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_type == SCM_TIMESTAMP) seen++;
    if (c->cmsg_type == 4) memcpy(&pidfd, CMSG_DATA(c), sizeof pidfd);
  }
  check(seen == 1);
  if (pidfd >= 0) {
    char path[40], info[400], want[20];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
    snprintf(want, sizeof want, "Pid:\t%d\n", getpid());
    slurp(path, info, sizeof info);
    check(strstr(info, want), "(%s)", info);
    close(pidfd);
  }
  check(send(stamped[1], "stamp", 5, 0) == 5);
}

/* One that carries itself. */
static void in_circles(void) {
  int fds[2];
  struct stat inside, outside;
  check(take(circle[0], "me", SCM_RIGHTS, fds) == sizeof *fds);
  check(!fstat(fds[0], &inside) && !fstat(circle[0], &outside) && inside.st_ino == outside.st_ino);
  pass(circle[1], "me", SCM_RIGHTS, fds, sizeof *fds);
  close(fds[0]);
}

/* An epoll instance on its way, twice, that watches the socket it is in. */
static void watching(void) {
  int fds[2][2];
  struct epoll_event event;
  for (int i = 0; i < 2; i++) {
    check(take(watcher[0], "epoll", SCM_RIGHTS, fds[i]) == sizeof **fds);
    check(epoll_wait(fds[i][0], &event, 1, 0) == !i && (i || event.data.u64 == 0x1234567890));
  }
  for (int i = 0; i < 2; i++) pass(watcher[1], "epoll", SCM_RIGHTS, fds[0], sizeof **fds);
  close(fds[0][0]), close(fds[1][0]);
}

static void verify(void) {
  queues();
  ends();
  options();
  on_the_way();
  /* At the end only, since the images of a moment in between would be other ones. */
  if (victim_asked()) watching();
  if (plain) return;
  more_options();
  if (victim_asked()) stamps();
  in_circles();
}

static void fill_queues(void) {
  pair(SOCK_STREAM, stream);
  pair(SOCK_DGRAM, datagram);
  pair(SOCK_SEQPACKET, sequence);
  check(send(stream[1], block, LARGE, 0) == LARGE && send(stream[0], "back", 4, 0) == 4);
  for (int i = 0; i < 2; i++) {
    int to = i ? sequence[1] : datagram[1];
    check(send(to, "one", 3, 0) == 3 && (plain || send(to, "", 0, 0) == 0));
    check(send(to, block, LARGE, 0) == LARGE && send(to, "last", 4, 0) == 4);
  }
}

static void part_ends(void) {
  int fds[2];
  pair(SOCK_STREAM, half);
  check(send(half[0], "rest", 4, 0) == 4 && !shutdown(half[0], SHUT_WR));
  pair(SOCK_SEQPACKET, fds);
  check(send(fds[1], "w", 1, 0) == 1 && !close(fds[1]));
  widow = fds[0];
  pair(SOCK_DGRAM, fds);
  check(send(fds[1], "o", 1, 0) == 1 && !close(fds[1]));
  orphan = fds[0];
  pair(SOCK_STREAM, fds);
  check(send(fds[0], "never read", 10, 0) == 10 && !close(fds[1]));
  spurned = fds[0];
  const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
  for (int i = 0; i < 3; i++) check((single[i] = socket(AF_UNIX, types[i], 0)) >= 0);
}

static void tune(void) {
  check(!syscall(SYS_setresgid, -1, 4321, -1) && !syscall(SYS_setresuid, -1, 1234, -1));
  pair(SOCK_STREAM, tuned);
  check(!syscall(SYS_setresuid, -1, 0, -1) && !syscall(SYS_setresgid, -1, 0, -1));
  set(tuned[0], SO_SNDBUF, 20000), set(tuned[0], SO_RCVBUF, 25000);
  set(tuned[0], SO_PRIORITY, 4), set(tuned[0], SO_RCVLOWAT, 7), set(tuned[0], SO_KEEPALIVE, 1);
  set(tuned[0], SO_REUSEADDR, !plain);
  struct timeval time = {3, 500000};
  struct linger linger = {1, 5};
  check(!setsockopt(tuned[0], SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time));
  check(!setsockopt(tuned[0], SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
  signal(SIGURG, SIG_IGN);
  check(!fcntl(tuned[0], F_SETOWN, getpid()) && !fcntl(tuned[0], F_SETSIG, SIGURG));
  check(!fcntl(tuned[0], F_SETFL, O_NONBLOCK | O_ASYNC) && send(tuned[1], "abcdefgh", 8, 0) == 8);
}

static void tune_more(void) {
  set(tuned[0], SO_PEEK_OFF, 2), set(tuned[0], SO_TIMESTAMP, 1);
  pair(SOCK_DGRAM, stamped);
  set(stamped[0], SO_TIMESTAMP, 1);
  int yes = 1;
  (void)!setsockopt(stamped[0], SOL_SOCKET, 76, &yes, sizeof yes); /* SO_PASSPIDFD, since 6.5 */
  check(send(stamped[1], "stamp", 5, 0) == 5);
  pair(SOCK_DGRAM, told);
  set(told[0], SO_PASSCRED, 1);
  struct ucred sender = {getpid(), 77, 88};
  pass(told[1], "hello", SCM_CREDENTIALS, &sender, sizeof sender);
}

static void send_off(void) {
  int fds[2];
  pair(SOCK_SEQPACKET, carrier);
  check(!pipe(fds) && write(fds[1], "abc", 3) == 3);
  pass(carrier[1], "pipe", SCM_RIGHTS, fds, sizeof fds);
  close(fds[0]), close(fds[1]);
  pair(SOCK_STREAM, fds);
  check(send(fds[1], "inner", 5, 0) == 5);
  pass(carrier[1], "end", SCM_RIGHTS, fds, sizeof *fds);
  close(fds[0]);
  far_end = fds[1];
  pair(SOCK_DGRAM, watcher);
  struct epoll_event event = {EPOLLIN, {.u64 = 0x1234567890}};
  int epoll = epoll_create1(0);
  check(epoll >= 0 && !epoll_ctl(epoll, EPOLL_CTL_ADD, watcher[0], &event));
  for (int i = 0; i < 2; i++) pass(watcher[1], "epoll", SCM_RIGHTS, &epoll, sizeof epoll);
  close(epoll);
  if (plain) return;
  pair(SOCK_DGRAM, circle);
  pass(circle[1], "me", SCM_RIGHTS, circle, sizeof *circle);
}

int main(int argc, char **argv) {
  (void)argv;
  plain = argc > 1;
  fill_known(block, sizeof block, 5);
  fill_queues();
  part_ends();
  tune();
  if (!plain) tune_more();
  send_off();
  victim_ready();
  /* It sends its messages again all the time: an empty one is seen by the first look of Stasis only. */
  victim_loop(verify);
}
