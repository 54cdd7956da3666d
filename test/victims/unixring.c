/*
 * Processes in a ring, each with a pair of unix sockets to the next, of all types in turn. All talk without a pause,
 * faster than they listen, so that something always waits; nothing may be lost, doubled or out of order.
 */
#include "family.h"
#include <sys/socket.h>

#define MOST 3000

static int count = 6;
static int to, from, to_type, from_type, previous;
static uint64_t sent, got;

static int type_of(int member) {
  const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
  return types[member % 3];
}

/* What a member says: byte `at` of a stream, or byte `at` of message `turn`. */
static unsigned char byte_of(int member, uint64_t turn, uint64_t at) {
  return known_word(member + 1000 * turn, at / 8) >> 8 * (at % 8);
}

static size_t length_of(int member, uint64_t turn) { return known_word(member, turn) % MOST; }

static void say(void) {
  static unsigned char text[MOST];
  for (int i = 0; i < 40; i++) {
    bool flows = to_type == SOCK_STREAM;
    size_t size = flows ? 1000 : length_of(me, sent);
    for (size_t at = 0; at < size; at++) text[at] = flows ? byte_of(me, 0, sent + at) : byte_of(me, sent, at);
    ssize_t n = send(to, text, size, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return;
    check(n == (ssize_t)size || (flows && n > 0), "%zd of %zu bytes", n, size);
    sent += flows ? n : 1;
  }
}

static void listen_to(void) {
  static unsigned char text[MOST];
  for (int i = 0; i < 10; i++) {
    bool flows = from_type == SOCK_STREAM;
    ssize_t n = recv(from, text, sizeof text, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return;
    check(flows ? n > 0 : n == (ssize_t)length_of(previous, got), "%zd bytes at %lu", n, got);
    for (ssize_t at = 0; at < n; at++) {
      unsigned char want = flows ? byte_of(previous, 0, got + at) : byte_of(previous, got, at);
      check(text[at] == want, "member %d, byte %zd at %lu", me, at, got);
    }
    got += flows ? n : 1;
  }
}

static void verify(void) {
  struct ucred maker;
  socklen_t length = sizeof maker;
  check(!getsockopt(to, SOL_SOCKET, SO_PEERCRED, &maker, &length) && maker.pid == pid_of(0), "made by %d", maker.pid);
  say();
  listen_to();
}

static void be(int member, int pairs[][2]) {
  previous = (member + count - 1) % count;
  to = pairs[member][0];
  from = pairs[previous][1];
  to_type = type_of(member);
  from_type = type_of(previous);
  for (int i = 0; i < count; i++) {
    if (i != member) close(pairs[i][0]);
    if (i != previous) close(pairs[i][1]);
  }
  family_born(member);
  family_live(verify);
}

int main(int argc, char **argv) {
  if (argc > 1) count = atoi(argv[1]);
  int pairs[count][2];
  family_found(count);
  for (int i = 0; i < count; i++) check(!socketpair(AF_UNIX, type_of(i), 0, pairs[i]));
  for (int i = 1; i < count; i++) {
    pid_t pid = fork();
    check(pid >= 0);
    if (pid == 0) be(i, pairs);
  }
  be(0, pairs);
}
