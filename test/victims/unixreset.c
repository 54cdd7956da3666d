/*
 * Ends of pairs whose other end was closed before it had read all: ECONNRESET waits to be reported, and a look into
 * the queue must leave it there. One has nothing else to read; in one bytes wait, and in one several messages.
 */
#include "victim.h"
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static int bare, sequence, bytes, several;

static int spurned(int type, const char *waits, int messages) {
  int fds[2], carried = open("/dev/null", O_RDONLY);
  check(carried >= 0 && !socketpair(AF_UNIX, type, 0, fds));
  check(send(fds[0], "never read", 10, 0) == 10);
  if (*waits) check(send(fds[1], waits, strlen(waits), 0) == (ssize_t)strlen(waits));
  for (int i = 0; i < messages; i++) {
    char control[CMSG_SPACE(sizeof carried)] = {0};
    struct iovec iov = {"more", 4};
    struct msghdr message = {0, 0, &iov, 1, control, sizeof control, 0};
    *CMSG_FIRSTHDR(&message) = (struct cmsghdr){CMSG_LEN(sizeof carried), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), &carried, sizeof carried);
    check(sendmsg(fds[1], &message, 0) == 4);
  }
  check(!close(fds[1]));
  /* Open as long as the messages are, for a file must belong to a task of the tree. */
  if (messages == 0) close(carried);
  return fds[0];
}

static void expect_reset(int fd, int unread) {
  struct pollfd p = {fd, POLLIN, 0};
  int waiting = -1;
  check(poll(&p, 1, 0) == 1 && (p.revents & POLLERR) && (p.revents & POLLHUP), "%d: %x", fd, p.revents);
  check(!ioctl(fd, FIONREAD, &waiting) && waiting == unread, "%d of %d bytes wait", waiting, unread);
}

static void verify(void) {
  char text[32];
  expect_reset(bare, 0);
  expect_reset(sequence, 0);
  expect_reset(bytes, 5);
  expect_reset(several, 13);
  check(recv(bytes, text, sizeof text, MSG_PEEK | MSG_DONTWAIT) == 5 && !memcmp(text, "bytes", 5));
}

int main(void) {
  bare = spurned(SOCK_STREAM, "", 0);
  sequence = spurned(SOCK_SEQPACKET, "", 0);
  bytes = spurned(SOCK_STREAM, "bytes", 0);
  several = spurned(SOCK_STREAM, "first", 2);
  victim_ready();
  victim_loop(verify);
}
