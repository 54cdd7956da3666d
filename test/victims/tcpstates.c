/*
 * Connections of TCP with both ends in one process, in every state that has a descriptor: with bytes in both queues,
 * sent and not sent, half closed in each way, ended, reset. When asked, everything that was sent is received, to the
 * byte, and the other end sees what it would have seen.
 *
 *     tcpstates 4|6|mapped
 */
#include "victim.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

typedef union {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
} Address;

static Address listens, asks;
static socklen_t size;
static int listener;

static void addresses(const char *family) {
  bool is4 = !strcmp(family, "4"), mapped = !strcmp(family, "mapped");
  size = is4 ? sizeof listens.v4 : sizeof listens.v6;
  if (is4) {
    listens.v4 = asks.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  } else {
    listens.v6.sin6_family = asks.v6.sin6_family = AF_INET6;
    check(inet_pton(AF_INET6, mapped ? "::ffff:127.0.0.1" : "::1", &asks.v6.sin6_addr) == 1);
    if (!mapped) listens = asks;
  }
  listener = socket(listens.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  check(listener >= 0 && !bind(listener, &listens.any, size) && !listen(listener, 16));
  check(!getsockname(listener, &listens.any, &size));
  if (is4)
    asks.v4.sin_port = listens.v4.sin_port;
  else
    asks.v6.sin6_port = listens.v6.sin6_port;
}

typedef struct {
  const char *name;
  int a, b;            /* -1 once closed */
  int state_a, state_b; /* -1: no matter */
  unsigned from_a, from_b; /* bytes sent so far */
  unsigned waits_a, waits_b; /* unread bytes */
} Pair;

enum { IDLE, BOTH, FULL, HALF, FIN1, LAST, CLOSING, OVER, RESET, TAKEN, DEAF, REFUSED, PAIRS };
static Pair pairs[PAIRS];

static unsigned char byte_at(const Pair *pair, bool from_a, unsigned at) {
  return (unsigned char)(at * 7 + (at >> 8) * 13 + (at >> 16) + (pair - pairs) * 31 + from_a * 101);
}

/* Sends up to `most` bytes, as far as they are taken. */
static void put(Pair *pair, bool from_a, unsigned most) {
  static unsigned char buffer[65536];
  unsigned *count = from_a ? &pair->from_a : &pair->from_b;
  for (unsigned end = *count + most; *count < end;) {
    unsigned length = end - *count < sizeof buffer ? end - *count : sizeof buffer;
    for (unsigned i = 0; i < length; i++) buffer[i] = byte_at(pair, from_a, *count + i);
    ssize_t sent = send(from_a ? pair->a : pair->b, buffer, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN) return;
    check(sent > 0, "%s", pair->name);
    *count += sent;
  }
}

/* Receives everything up to the end of the stream, or `limit` bytes. */
static void get(Pair *pair, bool by_a, unsigned limit, bool ends) {
  static unsigned char buffer[65536];
  unsigned count = 0;
  int fd = by_a ? pair->a : pair->b;
  while (count < limit || ends) {
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    check(poll(&wait, 1, 20000) == 1, "%s: %u of %u bytes", pair->name, count, limit);
    unsigned most = ends || limit - count > sizeof buffer ? sizeof buffer : limit - count;
    ssize_t got = recv(fd, buffer, most, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) continue;
    check(got >= 0, "%s after %u bytes", pair->name, count);
    if (got == 0) break;
    for (ssize_t i = 0; i < got; i++, count++)
      check(buffer[i] == byte_at(pair, !by_a, count), "%s: byte %u of %u", pair->name, count, limit);
  }
  check(count == limit, "%s: %u bytes for %u", pair->name, count, limit);
}

static int state_of(int fd) {
  struct tcp_info info;
  socklen_t length = sizeof info;
  check(!getsockopt(fd, SOL_TCP, TCP_INFO, &info, &length));
  return info.tcpi_state;
}

static unsigned unread(int fd) {
  int count;
  check(!ioctl(fd, FIONREAD, &count));
  return count;
}

static int polled(int fd) {
  struct pollfd now = {.fd = fd, .events = POLLIN | POLLRDHUP};
  check(poll(&now, 1, 0) >= 0);
  return now.revents;
}

static void connected(Pair *pair, const char *name, int sndbuf) {
  *pair = (Pair){.name = name, .state_a = TCP_ESTABLISHED, .state_b = TCP_ESTABLISHED};
  pair->a = socket(asks.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (sndbuf) check(!setsockopt(pair->a, SOL_SOCKET, SO_SNDBUFFORCE, &sndbuf, sizeof sndbuf));
  check(pair->a >= 0 && !connect(pair->a, &asks.any, size), "%s", name);
  pair->b = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  check(pair->b >= 0);
}

/* Until both ends are in the states they are to have. */
static void settle(Pair *pair, int a, int b) {
  pair->state_a = a, pair->state_b = b;
  for (int i = 0; i < 1000; i++) {
    if ((pair->a < 0 || state_of(pair->a) == a) && (pair->b < 0 || state_of(pair->b) == b)) return;
    victim_nap(1);
  }
  fail("%s: states %d, %d", pair->name, pair->a < 0 ? 0 : state_of(pair->a), pair->b < 0 ? 0 : state_of(pair->b));
}

static void set(int fd, int level, int name, int value) {
  check(!setsockopt(fd, level, name, &value, sizeof value), "option %d of level %d", name, level);
}

static int option(int fd, int level, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  check(!getsockopt(fd, level, name, &value, &length), "option %d of level %d", name, level);
  return value;
}

static void set_up(void) {
  connected(&pairs[IDLE], "idle", 0);
  set(pairs[IDLE].a, SOL_TCP, TCP_NODELAY, 1);
  set(pairs[IDLE].a, SOL_TCP, TCP_USER_TIMEOUT, 12345);
  set(pairs[IDLE].a, SOL_TCP, TCP_NOTSENT_LOWAT, 4321);
  set(pairs[IDLE].a, SOL_TCP, TCP_LINGER2, 17);
  set(pairs[IDLE].b, SOL_TCP, TCP_CORK, 1);
  set(pairs[IDLE].b, SOL_SOCKET, SO_KEEPALIVE, 1);
  set(pairs[IDLE].b, SOL_TCP, TCP_KEEPIDLE, 77);
  check(!setsockopt(pairs[IDLE].b, SOL_TCP, TCP_CONGESTION, "reno", 4));
  connected(&pairs[BOTH], "bytes in both directions", 0);
  put(&pairs[BOTH], true, 60000);
  put(&pairs[BOTH], false, 5);
  connected(&pairs[FULL], "a full queue", 4 << 20);
  put(&pairs[FULL], true, 1 << 30);
  check(pairs[FULL].from_a > 2 << 20, "%u", pairs[FULL].from_a);
  connected(&pairs[HALF], "half closed", 0);
  put(&pairs[HALF], true, 3000);
  check(!shutdown(pairs[HALF].a, SHUT_WR));
  settle(&pairs[HALF], TCP_FIN_WAIT2, TCP_CLOSE_WAIT);
  put(&pairs[HALF], false, 2000);
  connected(&pairs[FIN1], "an unsent FIN", 1 << 20);
  put(&pairs[FIN1], true, 1 << 30);
  check(!shutdown(pairs[FIN1].a, SHUT_WR));
  settle(&pairs[FIN1], TCP_FIN_WAIT1, TCP_ESTABLISHED);
  put(&pairs[FIN1], false, 1000);
  connected(&pairs[LAST], "the last FIN is unsent", 1 << 20);
  put(&pairs[LAST], true, 1 << 30);
  put(&pairs[LAST], false, 700);
  check(!shutdown(pairs[LAST].b, SHUT_WR));
  settle(&pairs[LAST], TCP_CLOSE_WAIT, TCP_FIN_WAIT2);
  check(!shutdown(pairs[LAST].a, SHUT_WR));
  settle(&pairs[LAST], TCP_LAST_ACK, TCP_FIN_WAIT2);
  connected(&pairs[CLOSING], "both close at once", 1 << 20);
  put(&pairs[CLOSING], true, 1 << 30);
  check(!shutdown(pairs[CLOSING].a, SHUT_WR));
  put(&pairs[CLOSING], false, 900);
  check(!shutdown(pairs[CLOSING].b, SHUT_WR));
  settle(&pairs[CLOSING], TCP_CLOSING, TCP_FIN_WAIT2);
  connected(&pairs[OVER], "over", 0);
  put(&pairs[OVER], true, 5000);
  put(&pairs[OVER], false, 4000);
  check(!shutdown(pairs[OVER].a, SHUT_WR) && !shutdown(pairs[OVER].b, SHUT_WR));
  settle(&pairs[OVER], TCP_CLOSE, TCP_CLOSE);
  struct linger now = {1, 0};
  for (int i = RESET; i <= TAKEN; i++) {
    connected(&pairs[i], i == RESET ? "reset" : "reset, and told", 0);
    put(&pairs[i], false, 800);
    victim_nap(5);
    check(!setsockopt(pairs[i].b, SOL_SOCKET, SO_LINGER, &now, sizeof now) && !close(pairs[i].b));
    pairs[i].b = -1;
    settle(&pairs[i], TCP_CLOSE, 0);
  }
  check(option(pairs[TAKEN].a, SOL_SOCKET, SO_ERROR) == ECONNRESET);
  connected(&pairs[DEAF], "shut down for reading", 0);
  check(!shutdown(pairs[DEAF].a, SHUT_RD));
  Pair *refused = &pairs[REFUSED];
  *refused = (Pair){.name = "refused", .b = -1};
  Address nobody = asks;
  int other = socket(asks.any.sa_family, SOCK_STREAM, 0);
  socklen_t length = size;
  if (size == sizeof nobody.v4)
    nobody.v4.sin_port = 0;
  else
    nobody.v6.sin6_port = 0;
  check(!bind(other, &nobody.any, size) && !getsockname(other, &nobody.any, &length));
  refused->a = socket(asks.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
  check(connect(refused->a, &nobody.any, size) == -1 && errno == EINPROGRESS);
  settle(refused, TCP_CLOSE, 0);
  for (int i = 0; i < PAIRS; i++) {
    victim_nap(2);
    pairs[i].waits_a = unread(pairs[i].a);
    pairs[i].waits_b = pairs[i].b < 0 ? 0 : unread(pairs[i].b);
  }
}

static void verify(void) {
  for (int i = 0; i < PAIRS; i++) {
    Pair *pair = &pairs[i];
    check(state_of(pair->a) == pair->state_a, "%s: state %d", pair->name, state_of(pair->a));
    check(unread(pair->a) == pair->waits_a, "%s: %u unread", pair->name, unread(pair->a));
    if (pair->b < 0) continue;
    check(state_of(pair->b) == pair->state_b, "%s: state of b %d", pair->name, state_of(pair->b));
    /* What was sent and not received may come in at any time. */
    check(unread(pair->b) >= pair->waits_b, "%s: %u unread by b", pair->name, unread(pair->b));
  }
  check(polled(pairs[RESET].a) & POLLERR && polled(pairs[REFUSED].a) & POLLERR && !(polled(pairs[TAKEN].a) & POLLERR));
  check(polled(pairs[DEAF].a) & POLLRDHUP && !(polled(pairs[DEAF].b) & POLLRDHUP) && !(polled(pairs[IDLE].a) & POLLRDHUP));
  check(option(pairs[IDLE].a, SOL_TCP, TCP_NODELAY) == 1 && option(pairs[IDLE].a, SOL_TCP, TCP_USER_TIMEOUT) == 12345);
  check(option(pairs[IDLE].a, SOL_TCP, TCP_NOTSENT_LOWAT) == 4321 && option(pairs[IDLE].a, SOL_TCP, TCP_LINGER2) == 17);
  check(option(pairs[IDLE].b, SOL_TCP, TCP_CORK) == 1 && option(pairs[IDLE].b, SOL_TCP, TCP_KEEPIDLE) == 77);
  char name[16] = "";
  socklen_t length = sizeof name;
  check(!getsockopt(pairs[IDLE].b, SOL_TCP, TCP_CONGESTION, name, &length) && !strcmp(name, "reno"));
  for (int i = 0; i < PAIRS; i++) {
    /* If whoever reads a connection is killed meanwhile, repair mode ends within a few milliseconds. */
    for (int turn = 0; turn < 50 && option(pairs[i].a, SOL_TCP, TCP_REPAIR); turn++) victim_nap(1);
    check(option(pairs[i].a, SOL_SOCKET, SO_REUSEADDR) == 0 && option(pairs[i].a, SOL_SOCKET, SO_REUSEPORT) == 0);
    check(option(pairs[i].a, SOL_TCP, TCP_REPAIR) == 0, "%s is in repair mode", pairs[i].name);
  }
}

static void exchange(Pair *pair) {
  set(pair->b, SOL_TCP, TCP_CORK, 0);
  put(pair, true, 100000);
  get(pair, false, pair->from_a, false);
  put(pair, false, 1000);
  get(pair, true, pair->from_b, false);
}

static void finish(void) {
  exchange(&pairs[IDLE]);
  get(&pairs[FULL], false, pairs[FULL].from_a, false);
  get(&pairs[BOTH], false, pairs[BOTH].from_a, false);
  get(&pairs[BOTH], true, pairs[BOTH].from_b, false);
  get(&pairs[HALF], false, pairs[HALF].from_a, true);
  put(&pairs[HALF], false, 3000);
  check(!shutdown(pairs[HALF].b, SHUT_WR));
  get(&pairs[HALF], true, pairs[HALF].from_b, true);
  get(&pairs[FIN1], false, pairs[FIN1].from_a, true);
  put(&pairs[FIN1], false, 1000);
  check(!shutdown(pairs[FIN1].b, SHUT_WR));
  get(&pairs[FIN1], true, pairs[FIN1].from_b, true);
  get(&pairs[LAST], false, pairs[LAST].from_a, true);
  get(&pairs[LAST], true, pairs[LAST].from_b, true);
  get(&pairs[CLOSING], false, pairs[CLOSING].from_a, true);
  get(&pairs[CLOSING], true, pairs[CLOSING].from_b, true);
  get(&pairs[OVER], false, pairs[OVER].from_a, true);
  get(&pairs[OVER], true, pairs[OVER].from_b, true);
  check(send(pairs[OVER].a, "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
  get(&pairs[RESET], true, pairs[RESET].from_b, false);
  char one;
  check(recv(pairs[RESET].a, &one, 1, MSG_DONTWAIT) == -1 && errno == ECONNRESET);
  get(&pairs[TAKEN], true, pairs[TAKEN].from_b, true);
  check(option(pairs[REFUSED].a, SOL_SOCKET, SO_ERROR) == ECONNREFUSED);
  check(recv(pairs[DEAF].a, &one, 1, MSG_DONTWAIT) == 0);
  put(&pairs[DEAF], true, 10);
  get(&pairs[DEAF], false, pairs[DEAF].from_a, false);
  for (int i = IDLE; i < RESET; i++) {
    Address ends[4];
    socklen_t length = size;
    bool gone = i == OVER;
    check(!getsockname(pairs[i].a, &ends[0].any, &length) && !getsockname(pairs[i].b, &ends[1].any, &length));
    check(gone || pairs[i].state_b == TCP_CLOSE || i > FULL || !getpeername(pairs[i].a, &ends[2].any, &length));
    check(i > FULL || !getpeername(pairs[i].b, &ends[3].any, &length));
    check(i > FULL || (!memcmp(&ends[0], &ends[3], size) && !memcmp(&ends[1], &ends[2], size)), "%s", pairs[i].name);
  }
  Pair fresh;
  connected(&fresh, "a new one", 0);
}

int main(int argc, char **argv) {
  addresses(argc > 1 ? argv[1] : "4");
  set_up();
  victim_ready();
  victim_watch(verify);
  finish();
  victim_pass();
}
