/*
 * Netlink sockets: not bound, bound to a port id of the kernel's choice or to a chosen one, members of groups (also
 * beyond 32, and without a port id), connected, with options. In the end one asks the kernel for its devices.
 */
#include "victim.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

static int made(int type, int protocol) {
  int fd = socket(AF_NETLINK, type | SOCK_CLOEXEC, protocol);
  check(fd >= 0);
  return fd;
}

static struct sockaddr_nl name_of(int fd, int (*call)(int, struct sockaddr *, socklen_t *)) {
  struct sockaddr_nl a = {0};
  socklen_t length = sizeof a;
  check(!call(fd, (struct sockaddr *)&a, &length));
  return a;
}

static void bound(int fd, unsigned port, unsigned groups) {
  struct sockaddr_nl a = {.nl_family = AF_NETLINK, .nl_pid = port, .nl_groups = groups};
  check(!bind(fd, (struct sockaddr *)&a, sizeof a));
}

static void set(int fd, int name, int value) { check(!setsockopt(fd, SOL_NETLINK, name, &value, sizeof value), "%d", name); }

static int get(int fd, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  check(!getsockopt(fd, SOL_NETLINK, name, &value, &length), "%d", name);
  return value;
}

static bool member(int fd, int group) {
  unsigned words[64] = {0};
  socklen_t length = sizeof words;
  check(!getsockopt(fd, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, words, &length));
  return words[(group - 1) / 32] >> (group - 1) % 32 & 1;
}

static int unbound, automatic, chosen, grouped, nameless, connected, options;
static unsigned port, chosen_port;

static void verify(void) {
  check(name_of(unbound, getsockname).nl_pid == 0);
  check(name_of(automatic, getsockname).nl_pid == port);
  check(name_of(chosen, getsockname).nl_pid == chosen_port);
  struct sockaddr_nl a = name_of(grouped, getsockname);
  check(a.nl_groups == (RTMGRP_LINK | 1u << (RTNLGRP_NSID - 1)) && member(grouped, RTNLGRP_NSID) && member(grouped, 34) && !member(grouped, 3));
  check(name_of(nameless, getsockname).nl_pid == 0 && member(nameless, RTNLGRP_NEIGH));
  a = name_of(connected, getpeername);
  check(a.nl_pid == chosen_port && a.nl_groups == 4);
  check(get(options, NETLINK_PKTINFO) && get(options, NETLINK_EXT_ACK) && get(options, NETLINK_CAP_ACK));
  check(get(options, NETLINK_NO_ENOBUFS) && get(options, NETLINK_GET_STRICT_CHK) && get(options, NETLINK_BROADCAST_ERROR));
  int type = 0;
  socklen_t length = sizeof type;
  check(!getsockopt(options, SOL_SOCKET, SO_TYPE, &type, &length) && type == SOCK_DGRAM);
}

static void asks(int fd) {
  struct {
    struct nlmsghdr head;
    struct rtgenmsg message;
  } ask = {{sizeof ask, RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 7, 0}, {AF_UNSPEC}};
  static char answer[65536];
  check(send(fd, &ask, sizeof ask, 0) == sizeof ask);
  for (bool done = false; !done;) {
    ssize_t got = recv(fd, answer, sizeof answer, 0);
    check(got > 0);
    for (struct nlmsghdr *m = (void *)answer; NLMSG_OK(m, got); m = NLMSG_NEXT(m, got)) done |= m->nlmsg_type == NLMSG_DONE;
  }
}

int main(void) {
  unbound = made(SOCK_RAW, NETLINK_ROUTE);
  automatic = made(SOCK_RAW, NETLINK_ROUTE);
  bound(automatic, 0, 0);
  port = name_of(automatic, getsockname).nl_pid;
  chosen = made(SOCK_RAW, NETLINK_USERSOCK);
  chosen_port = 0x7a000000 + getpid();
  bound(chosen, chosen_port, 0);
  grouped = made(SOCK_RAW, NETLINK_ROUTE);
  bound(grouped, 0, RTMGRP_LINK);
  set(grouped, NETLINK_ADD_MEMBERSHIP, RTNLGRP_NSID);
  set(grouped, NETLINK_ADD_MEMBERSHIP, 34);
  nameless = made(SOCK_RAW, NETLINK_ROUTE);
  set(nameless, NETLINK_ADD_MEMBERSHIP, RTNLGRP_NEIGH);
  connected = made(SOCK_RAW, NETLINK_USERSOCK);
  struct sockaddr_nl peer = {.nl_family = AF_NETLINK, .nl_pid = chosen_port, .nl_groups = 4};
  check(!connect(connected, (struct sockaddr *)&peer, sizeof peer));
  options = made(SOCK_DGRAM, NETLINK_GENERIC);
  for (int *o = (int[]){NETLINK_PKTINFO, NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_NO_ENOBUFS, NETLINK_GET_STRICT_CHK, NETLINK_BROADCAST_ERROR, 0}; *o; o++) {
    set(options, *o, 1);
  }
  verify();
  victim_ready();
  victim_wait();
  verify();
  asks(automatic);
  asks(unbound);
  victim_pass();
}
