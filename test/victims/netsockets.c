/*
 * Sockets of several network namespaces in one tree. Member 0 stays where it is started ("outer"), or has a namespace
 * of its own ("inner"); members 1 and 2 have namespaces of their own; member 3 is a child of 1 that has gone back to
 * the namespace of member 0, with a socket of 1 in its hands; member 4 is a child of 2 that shares its namespace.
 *
 * All have sockets with the same names, ports and port IDs, which only works in different namespaces, and messages
 * that wait in them. Each checks all the time that its sockets belong where they did, by the cookies of the
 * namespaces, and in the end takes what waits and sends more.
 */
#include "family.h"
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

enum { LISTENER, CLIENT, SERVER, GRAM, UNBOUND, TCP_LISTENER, TCP_CLIENT, TCP_SERVER, UDP, UDP_PEER, ROUTE, PACKET_, PAIR, PAIR_2, COUNT };
static int sockets[COUNT];
/* Which of the cookies of the namespaces each socket had, compared with that of the first. */
static bool alike[COUNT];
/* A socket that was made in the namespace of member 0, before this one had one of its own. */
static int before[2];
static bool before_is_alike;
static int network;
static uint16_t port;

static uint64_t cookie(int fd) {
  uint64_t value = 0;
  socklen_t size = sizeof value;
  if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &value, &size)) skip("the kernel has no cookies of namespaces");
  return value;
}

static uint64_t own_cookie(void) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  check(fd >= 0);
  uint64_t value = cookie(fd);
  close(fd);
  return value;
}

static void lo_up(void) {
  struct ifreq request = {.ifr_name = "lo"};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  check(fd >= 0 && !ioctl(fd, SIOCGIFFLAGS, &request));
  request.ifr_flags |= IFF_UP;
  check(!ioctl(fd, SIOCSIFFLAGS, &request) && !close(fd));
}

static socklen_t named(struct sockaddr_un *address, const char *name) {
  /* In the namespace of the machine others may run this test as well. */
  *address = (struct sockaddr_un){.sun_family = AF_UNIX};
  int length = network == 0 ? sprintf(address->sun_path + 1, "stasis-%s-%d", name, pid_of(0))
                            : sprintf(address->sun_path + 1, "stasis-%s", name);
  return offsetof(struct sockaddr_un, sun_path) + 1 + length;
}

static void make_unix(void) {
  struct sockaddr_un address;
  socklen_t length = named(&address, "stream");
  sockets[LISTENER] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  check(!bind(sockets[LISTENER], (struct sockaddr *)&address, length) && !listen(sockets[LISTENER], 5));
  sockets[CLIENT] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  check(!connect(sockets[CLIENT], (struct sockaddr *)&address, length));
  sockets[SERVER] = accept4(sockets[LISTENER], 0, 0, SOCK_CLOEXEC);
  check(sockets[SERVER] >= 0);
  char text[30];
  int size = sprintf(text, "of network %d", network);
  check(write(sockets[CLIENT], text, size) == size);
  length = named(&address, "datagrams");
  sockets[GRAM] = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  check(!bind(sockets[GRAM], (struct sockaddr *)&address, length));
  sockets[UNBOUND] = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  check(!connect(sockets[UNBOUND], (struct sockaddr *)&address, length));
  check(send(sockets[UNBOUND], text, size, 0) == size);
  check(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets + PAIR));
  check(send(sockets[PAIR], text, size, 0) == size);
}

static void make_inet(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  address.sin_port = htons(network == 0 ? 0 : 7777);
  sockets[TCP_LISTENER] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  check(!bind(sockets[TCP_LISTENER], (struct sockaddr *)&address, size) && !listen(sockets[TCP_LISTENER], 5));
  check(!getsockname(sockets[TCP_LISTENER], (struct sockaddr *)&address, &size));
  port = address.sin_port;
  sockets[TCP_CLIENT] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  check(!connect(sockets[TCP_CLIENT], (struct sockaddr *)&address, size));
  sockets[TCP_SERVER] = accept4(sockets[TCP_LISTENER], 0, 0, SOCK_CLOEXEC);
  char text[30];
  int length = sprintf(text, "of network %d", network);
  check(sockets[TCP_SERVER] >= 0 && write(sockets[TCP_CLIENT], text, length) == length);
  sockets[UDP] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockets[UDP_PEER] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  check(!bind(sockets[UDP], (struct sockaddr *)&address, size));
  check(!connect(sockets[UDP_PEER], (struct sockaddr *)&address, size));
  check(send(sockets[UDP_PEER], text, length, 0) == length);
}

static void make_others(void) {
  struct sockaddr_nl route = {.nl_family = AF_NETLINK, .nl_pid = network == 0 ? 0 : 4242, .nl_groups = 1};
  sockets[ROUTE] = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  check(!bind(sockets[ROUTE], (struct sockaddr *)&route, sizeof route));
  sockets[PACKET_] = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  struct sockaddr_ll device = {.sll_family = AF_PACKET, .sll_ifindex = if_nametoindex("lo")};
  check(!bind(sockets[PACKET_], (struct sockaddr *)&device, sizeof device));
}

static void make_all(void) {
  lo_up();
  make_unix();
  make_inet();
  make_others();
  for (int i = 0; i < COUNT; i++) alike[i] = true;
}

/* The cookies are others after a restore, which may come between two looks. */
static bool is_of(int fd, uint64_t *own) {
  for (;;) {
    bool same = cookie(fd) == *own;
    uint64_t now = own_cookie();
    if (now == *own) return same;
    *own = now;
  }
}

static void verify(void) {
  uint64_t own = own_cookie();
  for (int i = 0; i < COUNT; i++) {
    if (sockets[i] < 0) continue;
    check(is_of(sockets[i], &own) == alike[i], "socket %d of member %d is in another network namespace", i, me);
  }
  for (int i = 0; i < 2; i++) {
    if (before[i] >= 0) check(is_of(before[i], &own) == before_is_alike, "the socket that member %d had before", me);
  }
}

static void expect(int fd, const char *text) {
  char found[64] = {0};
  ssize_t length = recv(fd, found, sizeof found - 1, MSG_DONTWAIT);
  check(length >= 0 && !strcmp(found, text), "(fd %d: %zd) member %d has \"%s\", not \"%s\"", fd, length, me, found, text);
}

static void last(void) {
  if (sockets[LISTENER] < 0) return;
  char text[30];
  sprintf(text, "of network %d", network);
  const int filled[] = {SERVER, GRAM, TCP_SERVER, UDP, PAIR_2};
  for (size_t i = 0; i < sizeof filled / sizeof *filled; i++) expect(sockets[filled[i]], text);
  struct sockaddr_un address;
  socklen_t length = named(&address, "stream");
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  check(!connect(fd, (struct sockaddr *)&address, length), "nobody listens in network %d", network);
  int accepted = accept4(sockets[LISTENER], 0, 0, SOCK_CLOEXEC);
  check(accepted >= 0 && send(fd, "new", 4, 0) == 4);
  expect(accepted, "new");
  check(write(sockets[TCP_CLIENT], "more", 5) == 5);
  victim_nap(50);
  expect(sockets[TCP_SERVER], "more");
  struct sockaddr_in inet = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = port};
  int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  check(!connect(tcp, (struct sockaddr *)&inet, sizeof inet), "no TCP in network %d", network);
  if (before[1] >= 0 && me != 0) {
    check(send(before[1], "x", 1, 0) == 1);
    expect(before[0], "x");
  }
}

static void close_all(void) {
  for (int i = 0; i < COUNT; i++) {
    if (sockets[i] >= 0) close(sockets[i]);
    sockets[i] = -1;
  }
}

static void own_network(int number) {
  close_all();
  check(!socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, before));
  check(!unshare(CLONE_NEWNET));
  network = number;
  make_all();
}

static void wait_for(const char *name) {
  while (access(name, F_OK)) victim_nap(1);
}

static void mark(const char *name) {
  int fd = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  check(fd >= 0 && !close(fd));
}

int main(int argc, char **argv) {
  before[0] = before[1] = -1;
  for (int i = 0; i < COUNT; i++) sockets[i] = -1;
  if (argc > 1 && !strcmp(argv[1], "inner")) {
    if (unshare(CLONE_NEWNET)) skip("no right to make a network namespace");
    network = 9;
  }
  family_found(5);
  atomic_store(&family->member[0].pid, getpid());
  make_all();
  int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  check(home >= 0);
  for (int number = 1; number <= 2; number++) {
    if (fork()) continue;
    own_network(number);
    if (!fork()) {
      if (number == 1) {
        /* Sockets of network 1 in a process that has left it. */
        check(!setns(home, CLONE_NEWNET));
        for (int i = 0; i < COUNT; i++) {
          if (i != PAIR && i != CLIENT) close(sockets[i]), sockets[i] = -1;
          alike[i] = false;
        }
        before_is_alike = true;
      }
      close(home);
      mark(number == 1 ? "three" : "four");
      family_born(number + 2);
      if (number == 2) close_all();
      family_live_and(verify, last);
    }
    wait_for(number == 1 ? "three" : "four");
    close(home);
    mark(number == 1 ? "one" : "two");
    family_born(number);
    family_live_and(verify, last);
  }
  wait_for("one");
  wait_for("two");
  close(home);
  family_born(0);
  family_live_and(verify, last);
}
