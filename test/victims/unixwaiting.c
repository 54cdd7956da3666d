/*
 * Connections that nobody has accepted, whose clients have sent something, are closed, or have other users. They wait
 * until the verdict is asked for.
 */
#include "victim.h"
#include <sys/socket.h>
#include <sys/un.h>

#define LARGE 100000

static int listener[2], client[2][4];
static char block[LARGE], got[LARGE];

static int connected(const char *name, int type, uid_t uid) {
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  strcpy(to.sun_path, name);
  int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
  check(!syscall(SYS_setresuid, -1, uid, -1));
  check(fd >= 0 && !connect(fd, (struct sockaddr *)&to, sizeof to), "(%s)", name);
  check(!syscall(SYS_setresuid, -1, 0, -1));
  return fd;
}

static void serve(int i, const char *name, int type) {
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  strcpy(at.sun_path, name);
  check((listener[i] = socket(AF_UNIX, type | SOCK_CLOEXEC, 0)) >= 0);
  check(!bind(listener[i], (struct sockaddr *)&at, sizeof at) && !listen(listener[i], 5) && !chmod(name, 0777));
  int *c = client[i];
  for (int k = 0; k < 4; k++) c[k] = connected(name, type, k == 3 ? 77 : 0);
  check(send(c[0], "one", 3, 0) == 3 && send(c[0], "two", 3, 0) == 3);
  check(send(c[1], block, LARGE, 0) == LARGE && !close(c[1]));
  check(!shutdown(c[3], SHUT_WR));
}

static void take(int fd, const char *want, int size) {
  ssize_t n = recv(fd, got, size ? size : 1, MSG_DONTWAIT | (size ? MSG_WAITALL : 0));
  check(n == size && !memcmp(got, want, size), "%zd bytes, not %d", n, size);
}

static void accept_all(int i) {
  int fd[4];
  for (int k = 0; k < 4; k++) {
    check((fd[k] = accept4(listener[i], 0, 0, SOCK_CLOEXEC)) >= 0);
    struct ucred who;
    socklen_t length = sizeof who;
    check(!getsockopt(fd[k], SOL_SOCKET, SO_PEERCRED, &who, &length));
    check(who.pid == getpid() && who.uid == (k == 3 ? 77 : 0), "%d %d", who.pid, who.uid);
  }
  if (i) take(fd[0], "one", 3), take(fd[0], "two", 3);
  if (!i) take(fd[0], "onetwo", 6);
  check(recv(fd[0], got, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
  take(fd[1], block, LARGE);
  take(fd[1], "", 0);
  check(send(fd[1], "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
  check(recv(fd[2], got, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
  check(send(client[i][2], "now", 3, 0) == 3);
  take(fd[2], "now", 3);
  take(fd[3], "", 0);
  check(send(fd[3], "down", 4, 0) == 4);
  take(client[i][3], "down", 4);
  check(fcntl(listener[i], F_SETFL, O_NONBLOCK) >= 0 && accept(listener[i], 0, 0) < 0 && errno == EAGAIN);
}

int main(void) {
  fill_known(block, sizeof block, 3);
  serve(0, "stream", SOCK_STREAM);
  serve(1, "seqpacket", SOCK_SEQPACKET);
  victim_ready();
  victim_wait();
  accept_all(0);
  accept_all(1);
  victim_pass();
}
