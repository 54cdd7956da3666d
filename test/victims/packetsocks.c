/*
 * Packet sockets: without a protocol, bound to the loopback device with options, memberships and a filter, of the kind
 * SOCK_PACKET, in a fanout group, and with rings for receiving and sending that are mapped. In the end the ring of the
 * last one is seen to work.
 */
#include "victim.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#define LO 1
#define RING (4 * PAGE)

static int plain, bound, old, fanned, ringed;
static char *rings;

static int made(int type, int protocol) {
  int fd = socket(AF_PACKET, type | SOCK_CLOEXEC, htons(protocol));
  if (fd < 0 && errno == EPERM) skip("no right to packet sockets");
  check(fd >= 0);
  return fd;
}

static void bind_to(int fd, int device, int protocol) {
  struct sockaddr_ll a = {.sll_family = AF_PACKET, .sll_ifindex = device, .sll_protocol = htons(protocol)};
  check(!bind(fd, (struct sockaddr *)&a, sizeof a));
}

static void set(int fd, int name, int value) { check(!setsockopt(fd, SOL_PACKET, name, &value, sizeof value), "%d", name); }

static int get(int fd, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  check(!getsockopt(fd, SOL_PACKET, name, &value, &length), "%d", name);
  return value;
}

static void at(int fd, int device, int protocol) {
  struct sockaddr_ll a = {0};
  socklen_t length = sizeof a;
  check(!getsockname(fd, (struct sockaddr *)&a, &length));
  check(a.sll_ifindex == device && a.sll_protocol == htons(protocol), "%d 0x%x", a.sll_ifindex, ntohs(a.sll_protocol));
}

static const int OPTIONS[][2] = {
    {PACKET_VERSION, TPACKET_V2}, {PACKET_RESERVE, 16}, {PACKET_AUXDATA, 1}, {PACKET_ORIGDEV, 1},
    {PACKET_TIMESTAMP, 64},       {PACKET_LOSS, 1},     {20, 1},             {23, 1},
};

static void verify(void) {
  at(plain, 0, 0);
  at(bound, LO, ETH_P_IP);
  for (size_t i = 0; i < sizeof OPTIONS / sizeof *OPTIONS; i++) {
    check(get(bound, OPTIONS[i][0]) == OPTIONS[i][1], "option %d is %d", OPTIONS[i][0], get(bound, OPTIONS[i][0]));
  }
  struct sock_filter filter[4];
  socklen_t count = 4;
  check(!getsockopt(bound, SOL_SOCKET, SO_GET_FILTER, filter, &count) && count == 1 && filter[0].k == 0);
  struct sockaddr name;
  socklen_t length = sizeof name;
  check(!getsockname(old, &name, &length) && !strcmp(name.sa_data, "lo"));
  check(get(fanned, PACKET_FANOUT) == ((PACKET_FANOUT_LB << 16) | (getpid() & 0xffff)));
  at(ringed, LO, ETH_P_IP);
  check(get(ringed, PACKET_VERSION) == TPACKET_V2);
}

/* A packet comes into the ring. */
static void receives(void) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  check(sendto(fd, "hello", 5, 0, (struct sockaddr *)&a, sizeof a) == 5);
  for (int turn = 0; turn < 400; turn++, victim_nap(5)) {
    for (char *frame = rings; frame < rings + RING; frame += 2048) {
      struct tpacket2_hdr *head = (void *)frame;
      if (__atomic_load_n(&head->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER) return;
    }
  }
  fail("nothing came into the ring");
}

int main(void) {
  plain = made(SOCK_RAW, 0);
  bound = made(SOCK_DGRAM, 0);
  for (size_t i = 0; i < sizeof OPTIONS / sizeof *OPTIONS; i++) set(bound, OPTIONS[i][0], OPTIONS[i][1]);
  struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
  struct sock_fprog program = {1, &nothing};
  check(!setsockopt(bound, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program));
  struct packet_mreq member = {.mr_ifindex = LO, .mr_type = PACKET_MR_MULTICAST, .mr_alen = 6, .mr_address = {1, 0, 0x5e, 1, 2, 3}};
  check(!setsockopt(bound, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &member, sizeof member));
  bind_to(bound, LO, ETH_P_IP);
  old = made(SOCK_PACKET, ETH_P_ARP);
  struct sockaddr name = {.sa_family = AF_PACKET, .sa_data = "lo"};
  check(!bind(old, &name, sizeof name));
  fanned = made(SOCK_RAW, ETH_P_ARP);
  set(fanned, PACKET_FANOUT, (PACKET_FANOUT_LB << 16) | (getpid() & 0xffff));
  ringed = made(SOCK_RAW, 0);
  set(ringed, PACKET_VERSION, TPACKET_V2);
  struct tpacket_req ring = {.tp_block_size = PAGE, .tp_block_nr = 4, .tp_frame_size = 2048, .tp_frame_nr = 8};
  check(!setsockopt(ringed, SOL_PACKET, PACKET_RX_RING, &ring, sizeof ring));
  check(!setsockopt(ringed, SOL_PACKET, PACKET_TX_RING, &ring, sizeof ring));
  rings = mmap(NULL, 2 * RING, PROT_READ | PROT_WRITE, MAP_SHARED, ringed, 0);
  check(rings != MAP_FAILED);
  bind_to(ringed, LO, ETH_P_IP);
  verify();
  victim_ready();
  victim_watch(verify);
  receives();
  victim_pass();
}
