/*
 * A family that talks over unix sockets: a server and its clients, which are of other users, have another root, or have
 * ended since; each end knows who is at the other (SO_PEERCRED). The listening socket is on its way in a message.
 */
#include "family.h"
#include <grp.h>
#include <sys/socket.h>
#include <sys/un.h>

static int listener, accepted[3], left, carrier[2];
static int client, inner_listener, inner[2];
static pid_t gone;

static struct sockaddr_un address(const char *name) {
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  strcpy(at.sun_path, name);
  return at;
}

static int bound(const char *name) {
  struct sockaddr_un at = address(name);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  check(fd >= 0 && !bind(fd, (struct sockaddr *)&at, sizeof at) && !listen(fd, 5), "(%s)", name);
  return fd;
}

static int connected(const char *name) {
  struct sockaddr_un to = address(name);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  check(fd >= 0 && !connect(fd, (struct sockaddr *)&to, sizeof to), "(%s)", name);
  return fd;
}

static void peer_is(int fd, pid_t pid, uid_t uid) {
  struct ucred who;
  socklen_t length = sizeof who;
  check(!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &length));
  check(who.pid == pid && who.uid == uid, "%d %d, not %d %d", who.pid, who.uid, pid, uid);
}

static void waits(int fd, char what) {
  char got = 0;
  check(recv(fd, &got, 1, MSG_PEEK | MSG_DONTWAIT) == 1 && got == what, "(%c, not %c)", got, what);
}

static void pass(int via, int fd) {
  union {
    struct cmsghdr head;
    char room[CMSG_SPACE(sizeof(int))];
  } control = {.head = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
  memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
  struct iovec iov = {"l", 1};
  struct msghdr message = {0, 0, &iov, 1, &control, sizeof control, 0};
  check(sendmsg(via, &message, 0) == 1);
}

static int take(int via) {
  char byte;
  union {
    struct cmsghdr head;
    char room[CMSG_SPACE(sizeof(int))];
  } control;
  struct iovec iov = {&byte, 1};
  struct msghdr message = {0, 0, &iov, 1, &control, sizeof control, 0};
  check(recvmsg(via, &message, MSG_CMSG_CLOEXEC) == 1);
  int fd;
  memcpy(&fd, CMSG_DATA(&control.head), sizeof fd);
  return fd;
}

static void verify_server(void) {
  peer_is(accepted[0], pid_of(1), 0);
  peer_is(accepted[1], pid_of(2), 77);
  peer_is(accepted[2], gone, 0);
  peer_is(left, pid_of(0), 0);
  waits(accepted[0], 'a'), waits(accepted[1], 'b'), waits(accepted[2], 'c'), waits(left, 'd');
  /* The listening socket is received, used, and sent again. */
  int fd = take(carrier[0]);
  int one = connected("server"), other = accept4(fd, 0, 0, SOCK_CLOEXEC);
  check(other >= 0);
  pass(carrier[1], fd);
  close(one), close(other), close(fd);
}

static void verify_client(void) {
  peer_is(client, pid_of(0), 0);
  waits(client, '1' + me);
  if (me != 1) return;
  struct stat stat;
  check(!lstat("/inside", &stat) && S_ISSOCK(stat.st_mode) && (stat.st_mode & 0777) == 0610);
  waits(inner[0], 'i');
  struct sockaddr_un name;
  socklen_t length = sizeof name;
  check(!getsockname(inner[1], (struct sockaddr *)&name, &length) && !strcmp(name.sun_path, "/inside"));
  int one = connected("/inside"), other = accept4(inner_listener, 0, 0, SOCK_CLOEXEC);
  check(other >= 0);
  close(one), close(other);
}

/* A client: of another root, or of another user. */
static void be_client(int which) {
  if (which == 2) check(!setgroups(0, 0) && !setresgid(88, 88, 88) && !setresuid(77, 77, 77) && !prctl(PR_SET_DUMPABLE, 1));
  client = connected("server");
  check(send(client, which == 1 ? "a" : "b", 1, 0) == 1);
  if (which == 1) {
    check(!mkdir("jail", 0700) && !chroot("jail") && !chdir("/"));
    inner_listener = bound("/inside");
    check(!chmod("/inside", 0610));
    inner[0] = connected("/inside");
    check((inner[1] = accept4(inner_listener, 0, 0, SOCK_CLOEXEC)) >= 0 && send(inner[1], "i", 1, 0) == 1);
  }
  family_born(which);
  family_live(verify_client);
}

/* A client that ends, and leaves its end to the server. */
static void be_gone(void) {
  int fd = connected("server");
  check(send(fd, "c", 1, 0) == 1);
  pass(carrier[1], fd);
  _exit(0);
}

int main(void) {
  family_found(3);
  check(!chmod(".", 0777));
  listener = bound("server");
  check(!chmod("server", 0777) && !socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, carrier));
  for (int i = 1; i < 3; i++) {
    if (!fork()) close(listener), be_client(i);
    int fd = accepted[i - 1] = accept4(listener, 0, 0, SOCK_CLOEXEC);
    char answer = '1' + i;
    check(fd >= 0 && send(fd, &answer, 1, 0) == 1);
    family_await(i, BORN);
  }
  if (!(gone = fork())) be_gone();
  check((accepted[2] = accept4(listener, 0, 0, SOCK_CLOEXEC)) >= 0 && send(accepted[2], "d", 1, 0) == 1);
  left = take(carrier[0]);
  check(waitpid(gone, 0, 0) == gone);
  pass(carrier[1], listener);
  close(listener);
  family_born(0);
  family_live(verify_server);
}
