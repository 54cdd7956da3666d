/*
 * Sockets of datagrams: UDP and UDPLite over IPv4, IPv6 and mapped, not bound, bound and connected, shut down, with
 * options; raw and ICMP ones. Datagrams wait in the bound ones: with their senders, an empty one among them. They are
 * received in the end.
 */
#include "victim.h"

#include <arpa/inet.h>
#include <linux/icmp.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define WAITING 70

typedef union {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
} Address;

static Address address(const char *text, int port) {
  Address a = {0};
  if (strchr(text, ':')) {
    a.v6.sin6_family = AF_INET6;
    a.v6.sin6_port = htons(port);
    check(inet_pton(AF_INET6, text, &a.v6.sin6_addr) == 1);
  } else {
    a.v4.sin_family = AF_INET;
    a.v4.sin_port = htons(port);
    check(inet_pton(AF_INET, text, &a.v4.sin_addr) == 1);
  }
  return a;
}

static socklen_t size_of(Address *a) { return a->any.sa_family == AF_INET ? sizeof a->v4 : sizeof a->v6; }

static void set(int fd, int level, int name, int value) {
  check(!setsockopt(fd, level, name, &value, sizeof value), "option %d of level %d", name, level);
}

static int get(int fd, int level, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  check(!getsockopt(fd, level, name, &value, &length), "option %d of level %d", name, level);
  return value;
}

static Address name_of(int fd) {
  Address a = {0};
  socklen_t length = sizeof a;
  check(!getsockname(fd, &a.any, &length));
  return a;
}

static int port_of(int fd) {
  Address a = name_of(fd);
  return ntohs(a.any.sa_family == AF_INET ? a.v4.sin_port : a.v6.sin6_port);
}

static int bound(const char *text, int protocol) {
  Address a = address(text, 0);
  int fd = socket(a.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, protocol);
  if (fd < 0 && protocol == IPPROTO_UDPLITE) return -1;
  check(fd >= 0 && !bind(fd, &a.any, size_of(&a)), "%s", text);
  return fd;
}

/* Sockets in which datagrams wait, and who sent them. */
static struct {
  int fd, sender, port;
  bool connected;
} boxes[8];
static int count;

/* An empty datagram that was looked at once is seen by no other look: without one, many dumps see the same. */
static bool none_empty;

static size_t size_at(int i) { return i == 3 && !none_empty ? 0 : i == 5 ? 20000 : 10 + i; }

/* A socket at `own`, to which somebody at `other` has sent datagrams, to the address `to`. */
static void box(const char *own, const char *other, const char *to, int protocol, bool connected) {
  int fd = bound(own, protocol), sender = bound(other, protocol);
  if (fd < 0 || sender < 0) return;
  set(fd, SOL_SOCKET, SO_RCVBUF, 4 << 20);
  static char bytes[20000];
  Address there = address(to, port_of(fd));
  if (connected) {
    Address peer = name_of(sender);
    check(!connect(fd, &peer.any, size_of(&peer)));
  }
  for (int i = 0; i < WAITING; i++) {
    memset(bytes, 'a' + i % 26, size_at(i));
    check(sendto(sender, bytes, size_at(i), 0, &there.any, size_of(&there)) == (ssize_t)size_at(i));
    check(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 1000) == 1);
  }
  boxes[count].fd = fd;
  boxes[count].sender = sender;
  boxes[count].connected = connected;
  boxes[count++].port = port_of(fd);
}

/* All datagrams are there, in their order and from whom they came. */
static void receive(int n) {
  static char bytes[65536];
  int fd = boxes[n].fd, sender = port_of(boxes[n].sender);
  for (int i = 0; i < WAITING; i++) {
    Address from = {0};
    socklen_t length = sizeof from;
    ssize_t got = recvfrom(fd, bytes, sizeof bytes, MSG_DONTWAIT, &from.any, &length);
    check(got == (ssize_t)size_at(i), "box %d, datagram %d: %zd", n, i, got);
    for (ssize_t at = 0; at < got; at++) check(bytes[at] == 'a' + i % 26, "box %d, datagram %d", n, i);
    int port = ntohs(from.any.sa_family == AF_INET ? from.v4.sin_port : from.v6.sin6_port);
    check(port == sender, "box %d, datagram %d is from port %d and not %d", n, i, port, sender);
  }
  check(recv(fd, bytes, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN, "box %d", n);
}

static int unbound, gone, half, limited, raw4, raw6, echo, groups;

/* Whether `groups` is a member of a group on the loopback device: with how many sources, and how they are meant. */
static bool joined(const char *group, unsigned mode, unsigned sources) {
  Address a = address(group, 0);
  struct group_filter f = {.gf_interface = 1};
  memcpy(&f.gf_group, &a, size_of(&a));
  socklen_t length = sizeof f;
  int level = a.any.sa_family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
  if (getsockopt(groups, level, MCAST_MSFILTER, &f, &length)) return false;
  return f.gf_fmode == mode && f.gf_numsrc == sources;
}

static void join(int name, const char *group, const char *source) {
  Address a = address(group, 0);
  struct group_source_req r = {.gsr_interface = 1};
  memcpy(&r.gsr_group, &a, size_of(&a));
  if (source) {
    Address b = address(source, 0);
    memcpy(&r.gsr_source, &b, size_of(&b));
  }
  int level = a.any.sa_family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
  check(!setsockopt(groups, level, name, &r, source ? sizeof r : sizeof(struct group_req)), "%s", group);
}

static const struct {
  int level, name, value;
} OPTIONS[] = {
    {SOL_SOCKET, SO_BROADCAST, 1},
    {SOL_SOCKET, SO_NO_CHECK, 1},
    {SOL_SOCKET, SO_RXQ_OVFL, 1},
    {SOL_SOCKET, SO_TIMESTAMPNS, 1},
    {SOL_SOCKET, 41 /* SO_WIFI_STATUS */, 1},
    {SOL_SOCKET, SO_SELECT_ERR_QUEUE, 1},
    {SOL_SOCKET, SO_MAX_PACING_RATE, 1000000},
    {SOL_SOCKET, SO_BUSY_POLL, 50},
    {SOL_SOCKET, SO_ZEROCOPY, 1},
    {IPPROTO_IP, IP_TTL, 33},
    {IPPROTO_IP, IP_RECVERR, 1},
    {IPPROTO_IP, IP_MULTICAST_TTL, 7},
    {IPPROTO_IP, IP_MULTICAST_LOOP, 0},
    {IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO},
    {IPPROTO_UDP, UDP_CORK, 1},
    {IPPROTO_UDP, 103 /* UDP_SEGMENT */, 1200},
    {IPPROTO_UDP, 104 /* UDP_GRO */, 1},
};

/* What is put into headers: the route is recorded; padding in an extension header of hop-by-hop options. */
static const unsigned char ROUTE[8] = {7, 7, 4}, HOPS[8] = {0, 0, 1, 4};

static bool has_bytes(int fd, int level, int name, const unsigned char *bytes) {
  unsigned char now[64];
  socklen_t length = sizeof now;
  check(!getsockopt(fd, level, name, now, &length), "option %d of level %d", name, level);
  return length == 8 && !memcmp(now, bytes, 8);
}

static void verify(void) {
  for (int i = 0; i < count; i++) {
    check(port_of(boxes[i].fd) == boxes[i].port);
    Address peer;
    socklen_t length = sizeof peer;
    check((getpeername(boxes[i].fd, &peer.any, &length) == 0) == boxes[i].connected, "box %d", i);
  }
  check(port_of(unbound) == 0);
  for (size_t i = 0; i < sizeof OPTIONS / sizeof *OPTIONS; i++) {
    int now = get(limited, OPTIONS[i].level, OPTIONS[i].name);
    check(now == OPTIONS[i].value, "option %d of level %d is %d", OPTIONS[i].name, OPTIONS[i].level, now);
  }
  check(has_bytes(limited, IPPROTO_IP, IP_OPTIONS, ROUTE) && has_bytes(unbound, IPPROTO_IPV6, IPV6_HOPOPTS, HOPS));
  check(send(gone, "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
  check(send(half, "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
  struct pollfd hung = {.fd = gone, .events = POLLRDHUP}, not = {.fd = half, .events = POLLRDHUP};
  check(poll(&hung, 1, 0) == 1 && hung.revents == (POLLHUP | POLLRDHUP));
  check(poll(&not, 1, 0) == 0);
  if (raw4 >= 0) {
    check(get(raw4, IPPROTO_IP, IP_HDRINCL) == 1 && get(raw4, SOL_RAW, ICMP_FILTER) == 0x55);
    check(name_of(raw4).v4.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
  }
  if (raw6 >= 0) check(get(raw6, IPPROTO_IPV6, IPV6_CHECKSUM) == 4 && get(raw6, IPPROTO_IPV6, IPV6_UNICAST_HOPS) == 9);
  check(joined("224.1.2.3", MCAST_EXCLUDE, 0) && joined("224.1.2.4", MCAST_INCLUDE, 2) && joined("224.1.2.5", MCAST_EXCLUDE, 1));
  check(joined("ff02::1:2", MCAST_EXCLUDE, 0) && joined("ff05::7", MCAST_INCLUDE, 1) && !joined("224.0.0.1", MCAST_EXCLUDE, 0));
  if (echo >= 0) check(port_of(echo) == 0x1234);
}

int main(int argc, char **argv) {
  (void)argv;
  none_empty = argc > 1;
  box("127.0.0.1", "127.0.0.1", "127.0.0.1", IPPROTO_UDP, false);
  box("0.0.0.0", "127.0.0.2", "127.0.0.3", IPPROTO_UDP, false);
  box("127.0.0.4", "127.0.0.5", "127.0.0.4", IPPROTO_UDP, true);
  box("::1", "::1", "::1", IPPROTO_UDP, false);
  box("::", "::1", "::1", IPPROTO_UDP, true);
  box("::", "127.0.0.6", "127.0.0.7", IPPROTO_UDP, false);
  box("::1", "::1", "::1", IPPROTO_UDPLITE, false);
  unbound = socket(AF_INET6, SOCK_DGRAM, 0);
  gone = bound("127.0.0.1", IPPROTO_UDP);
  half = bound("::1", IPPROTO_UDP);
  Address sink = address("127.0.0.1", 9), sink6 = address("::1", 9);
  check(!connect(gone, &sink.any, size_of(&sink)) && !shutdown(gone, SHUT_RDWR));
  check(!connect(half, &sink6.any, size_of(&sink6)) && !shutdown(half, SHUT_WR));
  limited = bound("127.0.0.1", IPPROTO_UDP);
  for (size_t i = 0; i < sizeof OPTIONS / sizeof *OPTIONS; i++) {
    set(limited, OPTIONS[i].level, OPTIONS[i].name, OPTIONS[i].value);
  }
  check(!setsockopt(limited, IPPROTO_IP, IP_OPTIONS, ROUTE, 8) && !setsockopt(unbound, IPPROTO_IPV6, IPV6_HOPOPTS, HOPS, 8));
  raw4 = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
  if (raw4 >= 0) {
    Address own = address("127.0.0.1", 0);
    set(raw4, IPPROTO_IP, IP_HDRINCL, 1);
    set(raw4, SOL_RAW, ICMP_FILTER, 0x55);
    check(!bind(raw4, &own.any, size_of(&own)));
  }
  raw6 = socket(AF_INET6, SOCK_RAW, 200);
  if (raw6 >= 0) {
    set(raw6, IPPROTO_IPV6, IPV6_CHECKSUM, 4);
    set(raw6, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 9);
  }
  groups = bound("::", IPPROTO_UDP);
  join(MCAST_JOIN_GROUP, "224.1.2.3", NULL);
  join(MCAST_JOIN_SOURCE_GROUP, "224.1.2.4", "192.0.2.1");
  join(MCAST_JOIN_SOURCE_GROUP, "224.1.2.4", "192.0.2.2");
  join(MCAST_JOIN_GROUP, "224.1.2.5", NULL);
  join(MCAST_BLOCK_SOURCE, "224.1.2.5", "192.0.2.3");
  join(MCAST_JOIN_GROUP, "ff02::1:2", NULL);
  join(MCAST_JOIN_SOURCE_GROUP, "ff05::7", "2001:db8::1");
  echo = socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
  if (echo >= 0) {
    Address own = address("127.0.0.1", 0x1234);
    check(!bind(echo, &own.any, size_of(&own)));
  }
  verify();
  victim_ready();
  victim_watch(verify);
  for (int i = 0; i < count; i++) receive(i);
  victim_pass();
}
