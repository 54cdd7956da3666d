/*
 * Datagram sockets of the unix family in all the ways they can be connected, and what waits in them: who sends to
 * whom, and under which name a message came. With an argument only what CRIU 4.2 carries as well.
 */
#include "victim.h"
#include <sys/socket.h>
#include <sys/un.h>

static bool plain;
static int server;                                /* many are connected with it */
static int unnamed, abstract_one, filed;          /* they are */
static int one_way, its_target, further;          /* one_way sends to its_target, that to further */
static int left, right;                           /* of a pair; right sends to the server now */
#define MANY 600
static int many[2];
static int mutual[2];                             /* connected with each other by name */
static int to_itself, widow, widow_named, silent; /* the last is bound, and nothing else */

static socklen_t address(struct sockaddr_un *to, const char *name) {
  *to = (struct sockaddr_un){.sun_family = AF_UNIX};
  if (*name != '@') {
    strcpy(to->sun_path, name);
    return offsetof(struct sockaddr_un, sun_path) + strlen(name) + 1;
  }
  int length = snprintf(to->sun_path + 1, 100, "stasis-%s-%d", name + 1, (int)getpid());
  return offsetof(struct sockaddr_un, sun_path) + 1 + length;
}

static int made(const char *name) {
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  check(fd >= 0);
  struct sockaddr_un at;
  if (*name) {
    socklen_t length = address(&at, name);
    check(!bind(fd, (struct sockaddr *)&at, length), "(%s)", name);
  }
  return fd;
}

static int attach(int fd, const char *name) {
  struct sockaddr_un to;
  socklen_t length = address(&to, name);
  check(!connect(fd, (struct sockaddr *)&to, length), "(%s)", name);
  return fd;
}

/* A message waits that came from this name. */
static void look(int fd, const char *text, const char *source, int flags) {
  struct sockaddr_un want, got;
  memset(&got, 0, sizeof got);
  socklen_t length = *source ? address(&want, source) : 0, have = sizeof got;
  char room[32] = "";
  ssize_t n = recvfrom(fd, room, sizeof room, MSG_DONTWAIT | flags, (struct sockaddr *)&got, &have);
  check(n == (ssize_t)strlen(text) && !strcmp(room, text), "(%s, not %s)", room, text);
  check(have == length && !memcmp(&want, &got, length), "(%s came from %s, %d bytes, not %s)", text, got.sun_path, have,
        source);
}

static void take(int fd, const char *text, const char *source) { look(fd, text, source, 0); }

static void put(int fd, const char *text) { check(send(fd, text, strlen(text), 0) == (ssize_t)strlen(text), "(%s)", text); }

/* Sends from a socket that is closed at once. */
static void put_and_go(const char *to, const char *text, const char *from) {
  int fd = made(from);
  attach(fd, to);
  put(fd, text);
  close(fd);
  if (*from && *from != '@') check(!unlink(from));
}

static void fill_server(void) {
  put(unnamed, "unnamed");
  put(abstract_one, "abstract");
  put(filed, "filed");
  if (plain) return;
  put(right, "right");
  put_and_go("server", "gone", "leaver");
  put_and_go("server", "lost", "@leaver");
  put_and_go("server", "nobody", "");
  put(filed, "");
}

static void check_server(void) {
  take(server, "unnamed", "");
  take(server, "abstract", plain ? "" : "@one");
  take(server, "filed", plain ? "" : "filed");
  if (!plain) {
    take(server, "right", "");
    take(server, "gone", "leaver");
    take(server, "lost", "@leaver");
    take(server, "nobody", "");
    take(server, "", "filed");
  }
  fill_server();
}

static void check_rest(void) {
  look(its_target, "first", "oneway", MSG_PEEK);
  take(further, "second", "target"), put(its_target, "second");
  check(send(one_way, "x", 1, 0) < 0 && errno == EPERM);
  look(left, "pair", "", MSG_PEEK);
  check(send(left, "x", 1, 0) < 0 && errno == EPERM);
  look(widow, "will", "", MSG_PEEK), look(widow_named, "will", "dead", MSG_PEEK);
  take(mutual[0], "a", "m1"), take(mutual[0], "b", "m1"), take(mutual[1], "c", "m0");
  put(mutual[1], "a"), put(mutual[1], "b"), put(mutual[0], "c");
  /* Peers may have more messages for each other than others could send. */
  for (int i = 0; i < MANY; i++) take(many[0], "many", "n1");
  for (int i = 0; i < MANY; i++) put(many[1], "many");
  take(to_itself, "self", "itself"), put(to_itself, "self");
  check(recv(silent, (char[8]){0}, 8, MSG_DONTWAIT) < 0 && errno == EAGAIN);
  check(send(silent, "x", 1, 0) < 0 && errno == ENOTCONN);
}

static void verify(void) {
  check_server();
  if (plain) return;
  check_rest();
}

static void connect_rest(void) {
  int fds[2];
  its_target = made("target"), further = made("further"), one_way = attach(made("oneway"), "target");
  put(one_way, "first");
  put(attach(its_target, "further"), "second");
  check(!socketpair(AF_UNIX, SOCK_DGRAM, 0, fds));
  left = fds[0], right = fds[1];
  put(right, "pair"), attach(right, "server");
  mutual[0] = made("m0"), mutual[1] = made("m1");
  attach(mutual[0], "m1"), attach(mutual[1], "m0");
  put(mutual[1], "a"), put(mutual[1], "b"), put(mutual[0], "c");
  many[0] = made("n0"), many[1] = made("n1");
  attach(many[0], "n1"), attach(many[1], "n0");
  int large = 1 << 20;
  check(!setsockopt(many[1], SOL_SOCKET, SO_SNDBUF, &large, sizeof large));
  for (int i = 0; i < MANY; i++) put(many[1], "many");
  to_itself = made("itself"), put(attach(to_itself, "itself"), "self");
  check(!socketpair(AF_UNIX, SOCK_DGRAM, 0, fds));
  widow = fds[0], put(fds[1], "will"), close(fds[1]);
  int dead = made("dead");
  widow_named = made("widow"), attach(dead, "widow"), put(dead, "will"), attach(widow_named, "dead");
  close(dead);
  check(!unlink("dead"));
  silent = made("silent");
}

int main(int argc, char **argv) {
  (void)argv;
  plain = argc > 1;
  server = made("server");
  unnamed = attach(made(""), "server");
  abstract_one = attach(made(plain ? "" : "@one"), "server");
  filed = attach(made(plain ? "" : "filed"), "server");
  if (!plain) connect_rest();
  fill_server();
  victim_ready();
  victim_loop(verify);
}
