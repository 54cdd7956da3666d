/*
 * Connections of TCP that use ECN, with both ends in one process, in the network namespace that it is started in: idle,
 * with bytes in both directions, half closed. When asked, all bytes come in; what both ends send can be marked, and is
 * where a rule of the test marks it (nftables), and each end tells the other so.
 *
 *     tcpecn 4|6|mapped
 */
#include "victim.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum { IDLE, BOTH, HALF, PAIRS };
enum { ECN = 8, AGREED = 15 };
/* Where struct tcp_info has tcpi_delivered_ce, which the C library does not know. */
enum { DELIVERED_CE = 196, INFO = 200 };

static struct {
  int fd[2];
  unsigned sent[2], got[2];
  uint8_t agreed[2];
} pairs[PAIRS];

static const uint8_t *info_of(int fd) {
  static uint8_t info[INFO];
  socklen_t length = sizeof info;
  check(!getsockopt(fd, SOL_TCP, TCP_INFO, info, &length) && length == sizeof info);
  return info;
}

static uint8_t agreed(int fd) { return info_of(fd)[5] & AGREED; }

static unsigned marks_told(int fd) {
  unsigned count;
  memcpy(&count, info_of(fd) + DELIVERED_CE, sizeof count);
  return count;
}

static unsigned char byte_at(int pair, int end, unsigned at) {
  return (unsigned char)(at * 7 + (at >> 8) * 13 + pair * 31 + end * 101);
}

static void put(int pair, int end, unsigned count) {
  unsigned char bytes[1000];
  for (; count > 0;) {
    unsigned length = count < sizeof bytes ? count : sizeof bytes;
    for (unsigned i = 0; i < length; i++) bytes[i] = byte_at(pair, end, pairs[pair].sent[end]++);
    check(send(pairs[pair].fd[end], bytes, length, MSG_NOSIGNAL) == (int)length, "pair %d", pair);
    count -= length;
  }
}

/* Takes all that was sent to an end. */
static void get(int pair, int end) {
  unsigned char bytes[1000];
  while (pairs[pair].got[end] < pairs[pair].sent[!end]) {
    struct pollfd wait = {.fd = pairs[pair].fd[end], .events = POLLIN};
    check(poll(&wait, 1, 9000) == 1, "pair %d, %u of %u", pair, pairs[pair].got[end], pairs[pair].sent[!end]);
    ssize_t got = recv(pairs[pair].fd[end], bytes, sizeof bytes, 0);
    check(got > 0, "pair %d", pair);
    for (ssize_t i = 0; i < got; i++) check(bytes[i] == byte_at(pair, !end, pairs[pair].got[end]++), "pair %d", pair);
  }
}

static void lo_up(void) {
  struct ifreq request = {.ifr_name = "lo"};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  check(fd >= 0 && !ioctl(fd, SIOCGIFFLAGS, &request));
  request.ifr_flags |= IFF_UP;
  check(!ioctl(fd, SIOCSIFFLAGS, &request) && !close(fd));
}

static void set_up(const char *family) {
  lo_up();
  int setting = open("/proc/sys/net/ipv4/tcp_ecn", O_WRONLY | O_CLOEXEC);
  check(setting >= 0 && write(setting, "1", 1) == 1 && !close(setting));
  bool is4 = !strcmp(family, "4");
  struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
  check(inet_pton(AF_INET6, *family == 'm' ? "::ffff:127.0.0.1" : "::1", &v6.sin6_addr) == 1);
  struct sockaddr *at = is4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6;
  socklen_t size = is4 ? sizeof v4 : sizeof v6;
  int listener = socket(at->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  check(!bind(listener, at, size) && !listen(listener, 5) && !getsockname(listener, at, &size));
  for (int i = 0; i < PAIRS; i++) {
    pairs[i].fd[0] = socket(at->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(!connect(pairs[i].fd[0], at, size));
    pairs[i].fd[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    check(pairs[i].fd[1] >= 0);
    for (int end = 0; end < 2; end++) {
      pairs[i].agreed[end] = agreed(pairs[i].fd[end]);
      check(pairs[i].agreed[end] & ECN);
    }
  }
  put(BOTH, 0, 50000);
  put(BOTH, 1, 3000);
  put(HALF, 0, 2000);
  check(!shutdown(pairs[HALF].fd[0], SHUT_WR));
}

static void verify(void) {
  for (int i = 0; i < PAIRS; i++)
    for (int end = 0; end < 2; end++)
      check(agreed(pairs[i].fd[end]) == pairs[i].agreed[end], "pair %d: %d", i, agreed(pairs[i].fd[end]));
}

static void finish(void) {
  get(BOTH, 0);
  get(BOTH, 1);
  for (int turn = 0; turn < 20; turn++) {
    for (int i = 0; i < PAIRS; i++) {
      for (int end = 0; end < 2; end++) {
        if (i == HALF && end == 0) continue;
        put(i, end, 3000);
        get(i, !end);
      }
    }
  }
  get(HALF, 1);
  for (int i = 0; i < PAIRS; i++)
    for (int end = 0; end < 2; end++)
      check((i == HALF && end == 0) || marks_told(pairs[i].fd[end]) > 0, "pair %d, end %d", i, end);
}

int main(int argc, char **argv) {
  set_up(argc > 1 ? argv[1] : "4");
  victim_ready();
  victim_watch(verify);
  finish();
  victim_pass();
}
