/*
 * TCP without a connection: sockets that listen (IPv4, IPv6, both, groups with SO_REUSEPORT), that are bound and do not
 * listen, that were only made; with options of every level. The listeners take connections afterwards, which are made
 * by the victim itself.
 */
#include "victim.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

typedef union {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
} Address;

static socklen_t size_of(int family) { return family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6); }

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

static void set(int fd, int level, int name, int value) {
  check(!setsockopt(fd, level, name, &value, sizeof value), "option %d of level %d", name, level);
}

static int get(int fd, int level, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  check(!getsockopt(fd, level, name, &value, &length), "option %d of level %d", name, level);
  return value;
}

static int port_of(int fd) {
  Address a;
  socklen_t length = sizeof a;
  check(!getsockname(fd, &a.any, &length));
  return ntohs(a.any.sa_family == AF_INET ? a.v4.sin_port : a.v6.sin6_port);
}

static int bound(const char *text, int port, void (*options)(int)) {
  Address a = address(text, port);
  int fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  check(fd >= 0);
  if (options) options(fd);
  check(!bind(fd, &a.any, size_of(a.any.sa_family)), "%s", text);
  return fd;
}

static int listening(const char *text, int port, int backlog, void (*options)(int)) {
  int fd = bound(text, port, options);
  check(!listen(fd, backlog));
  return fd;
}

static int backlog_of(int fd) {
  struct tcp_info info;
  socklen_t length = sizeof info;
  check(!getsockopt(fd, SOL_TCP, TCP_INFO, &info, &length) && info.tcpi_state == TCP_LISTEN);
  return info.tcpi_sacked;
}

/* A connection to a listener works in both directions. */
static void serves(int listener, const char *text) {
  Address a = address(text, port_of(listener));
  int client = socket(a.any.sa_family, SOCK_STREAM, 0);
  check(client >= 0 && !connect(client, &a.any, size_of(a.any.sa_family)), "%s", text);
  struct pollfd wait = {.fd = listener, .events = POLLIN};
  check(poll(&wait, 1, 5000) == 1);
  int server = accept(listener, NULL, NULL);
  char got[4] = "";
  check(server >= 0 && write(client, "ping", 4) == 4 && recv(server, got, 4, MSG_WAITALL) == 4 && !memcmp(got, "ping", 4));
  check(write(server, "pong", 4) == 4 && recv(client, got, 4, MSG_WAITALL) == 4 && !memcmp(got, "pong", 4));
  struct linger now = {1, 0};
  check(!setsockopt(client, SOL_SOCKET, SO_LINGER, &now, sizeof now) && !close(client) && !close(server));
}

static void shared_port(int fd) { set(fd, SOL_SOCKET, SO_REUSEPORT, 1); }
static void reused(int fd) { set(fd, SOL_SOCKET, SO_REUSEADDR, 1); }
static void only_v6(int fd) { set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1); }
static void foreign(int fd) {
  set(fd, IPPROTO_IP, IP_FREEBIND, 1);
  set(fd, IPPROTO_IP, IP_TRANSPARENT, 1);
}
static void foreign6(int fd) { set(fd, IPPROTO_IPV6, 78 /* IPV6_FREEBIND */, 1); }
static void on_lo(int fd) { check(!setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3)); }

/* What is set on some sockets, and looked for afterwards. */
static const struct {
  int level, name, value;
} OPTIONS[] = {
    {SOL_SOCKET, SO_KEEPALIVE, 1},
    {SOL_SOCKET, SO_OOBINLINE, 1},
    {SOL_SOCKET, SO_RCVLOWAT, 3},
    {SOL_TCP, TCP_NODELAY, 1},
    {SOL_TCP, TCP_KEEPIDLE, 100},
    {SOL_TCP, TCP_KEEPINTVL, 11},
    {SOL_TCP, TCP_KEEPCNT, 4},
    {IPPROTO_IP, IP_TOS, 0x10},
    {SOL_SOCKET, SO_PRIORITY, 5}, /* IP_TOS changes it */
    {IPPROTO_IP, IP_TTL, 33},
    {IPPROTO_IP, IP_RECVTOS, 1},
    {IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO},
    {IPPROTO_IP, IP_RECVTTL, 1},
    {IPPROTO_IP, IP_PKTINFO, 1},
    {IPPROTO_IP, IP_MINTTL, 2},
    {IPPROTO_IPV6, IPV6_TCLASS, 0x20},
    {IPPROTO_IPV6, IPV6_UNICAST_HOPS, 44},
    {IPPROTO_IPV6, IPV6_RECVPKTINFO, 1},
    {IPPROTO_IPV6, IPV6_DONTFRAG, 1},
    {IPPROTO_IPV6, IPV6_AUTOFLOWLABEL, 0},
};
#define COUNT (sizeof OPTIONS / sizeof *OPTIONS)

static void optioned(int fd, int family) {
  for (size_t i = 0; i < COUNT; i++)
    if (family == AF_INET6 || OPTIONS[i].level != IPPROTO_IPV6) set(fd, OPTIONS[i].level, OPTIONS[i].name, OPTIONS[i].value);
}

static void has_options(int fd, int family) {
  for (size_t i = 0; i < COUNT; i++) {
    if (family != AF_INET6 && OPTIONS[i].level == IPPROTO_IPV6) continue;
    int got = get(fd, OPTIONS[i].level, OPTIONS[i].name);
    check(got == OPTIONS[i].value, "option %d of level %d is %d", OPTIONS[i].name, OPTIONS[i].level, got);
  }
}

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif
/* MPTCP: one that listens, one that was only made; -1 where there is none. */
static int multi = -1, multi_made = -1;

static int plain, plain6, dual, only6, group[3], idle, idle6, made, made6, alone, device, far, far6, ports[16], owned;

static void verify(void) {
  has_options(plain, AF_INET);
  has_options(dual, AF_INET6);
  has_options(made, AF_INET);
  has_options(made6, AF_INET6);
  check(backlog_of(plain) == 7 && backlog_of(plain6) == 1 && backlog_of(dual) == 128 && backlog_of(group[2]) == 12);
  const int fds[] = {plain, plain6, dual, only6, group[0], group[1], group[2], idle, idle6, alone, device, far, far6};
  for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) check(port_of(fds[i]) == ports[i], "socket %zu", i);
  check(port_of(made) == 0 && port_of(made6) == 0);
  check(get(idle, SOL_SOCKET, SO_REUSEADDR) == 1 && get(idle6, SOL_SOCKET, SO_REUSEADDR) == 0);
  check(get(plain, SOL_SOCKET, SO_REUSEADDR) == 1 && get(alone, SOL_SOCKET, SO_REUSEADDR) == 0);
  check(get(alone, SOL_SOCKET, SO_REUSEPORT) == 0 && get(group[1], SOL_SOCKET, SO_REUSEPORT) == 1);
  check(get(group[2], SOL_SOCKET, SO_REUSEPORT) == 0);
  check(get(only6, IPPROTO_IPV6, IPV6_V6ONLY) == 1 && get(dual, IPPROTO_IPV6, IPV6_V6ONLY) == 0);
  check(get(far, IPPROTO_IP, IP_FREEBIND) == 1 && get(far, IPPROTO_IP, IP_TRANSPARENT) == 1);
  check(get(far6, IPPROTO_IPV6, 78) == 1 && get(plain, IPPROTO_IP, IP_FREEBIND) == 0);
  char name[16] = "";
  socklen_t length = sizeof name;
  check(!getsockopt(device, SOL_SOCKET, SO_BINDTODEVICE, name, &length) && !strcmp(name, "lo"));
  check(fcntl(plain, F_GETFL) & O_NONBLOCK);
  struct stat owner;
  check(!fstat(owned, &owner) && owner.st_uid == 77);
  struct pollfd quiet[] = {{.fd = plain, .events = POLLIN}, {.fd = dual, .events = POLLIN}, {.fd = group[0], .events = POLLIN}};
  check(poll(quiet, 3, 0) == 0);
}

int main(void) {
  plain = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  Address a = address("127.0.0.1", 0);
  reused(plain);
  optioned(plain, AF_INET);
  check(!bind(plain, &a.any, sizeof a.v4) && !listen(plain, 7));
  plain6 = listening("::1", 0, 1, NULL);
  dual = listening("::", 0, 128, NULL);
  optioned(dual, AF_INET6);
  only6 = listening("::", 0, 4, only_v6);
  group[0] = listening("127.0.0.1", 0, 10, shared_port);
  group[1] = listening("127.0.0.1", port_of(group[0]), 11, shared_port);
  group[2] = listening("127.0.0.1", port_of(group[0]), 12, shared_port);
  set(group[2], SOL_SOCKET, SO_REUSEPORT, 0); /* it has shared the port, and is not to share it any more */
  idle = bound("127.0.0.1", 0, reused);
  idle6 = bound("::1", 0, NULL);
  made = socket(AF_INET, SOCK_STREAM, 0);
  optioned(made, AF_INET);
  made6 = socket(AF_INET6, SOCK_STREAM, 0);
  optioned(made6, AF_INET6);
  alone = listening("127.0.0.1", 0, 3, NULL);
  device = listening("127.0.0.1", 0, 3, on_lo);
  far = listening("192.0.2.7", 0, 3, foreign);
  far6 = listening("2001:db8::7", 0, 3, foreign6);
  owned = socket(AF_INET, SOCK_STREAM, 0);
  check(!fchown(owned, 77, -1));
  multi_made = socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP);
  multi = socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP);
  a = address("127.0.0.1", 0);
  if (multi >= 0) check(!bind(multi, &a.any, sizeof a.v4) && !listen(multi, 9));
  const int fds[] = {plain, plain6, dual, only6, group[0], group[1], group[2], idle, idle6, alone, device, far, far6};
  for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) ports[i] = port_of(fds[i]);
  victim_ready();
  victim_watch(verify);
  serves(plain, "127.0.0.1");
  serves(plain6, "::1");
  serves(dual, "127.0.0.1");
  serves(dual, "::1");
  serves(only6, "::1");
  serves(device, "127.0.0.1");
  check(!listen(idle, 5) && !listen(idle6, 5));
  serves(idle, "127.0.0.1");
  serves(idle6, "::1");
  serves(alone, "127.0.0.1");
  if (multi >= 0) {
    check(get(multi, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_MPTCP && get(multi_made, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_MPTCP);
    check(backlog_of(multi) == 9);
    serves(multi, "127.0.0.1");
  }
  victim_pass();
}
