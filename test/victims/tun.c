/*
 * Descriptors of /dev/net/tun: attached to nothing, to a tun device, and to two queues of a tap device, one of them
 * detached. The devices are up, and what is set of them stays; a frame can be written.
 */
#include "victim.h"
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static int plain, tun, first, second, asker;
static char tun_name[IFNAMSIZ], tap_name[IFNAMSIZ];
static int tun_index, tap_index;

static int device(void) {
  int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
  if (fd < 0) skip("no /dev/net/tun here");
  return fd;
}

static int attach(const char *name, int flags) {
  struct ifreq r = {.ifr_flags = flags};
  int fd = device();
  snprintf(r.ifr_name, IFNAMSIZ, "%s", name);
  int done = ioctl(fd, TUNSETIFF, &r);
  if (done && errno == EPERM) skip("no right to make network devices");
  check(!done, "%s", name);
  return fd;
}

static struct ifreq ask(unsigned long what, const char *name) {
  struct ifreq r = {0};
  snprintf(r.ifr_name, IFNAMSIZ, "%s", name);
  check(!ioctl(asker, what, &r), "%s", name);
  return r;
}

static void set_up(const char *name, int mtu) {
  struct ifreq r = ask(SIOCGIFMTU, name);
  r.ifr_mtu = mtu;
  check(!ioctl(asker, SIOCSIFMTU, &r));
  r = ask(SIOCGIFFLAGS, name);
  r.ifr_flags |= IFF_UP;
  check(!ioctl(asker, SIOCSIFFLAGS, &r));
}

static void is(int fd, const char *name, int flags, int without) {
  struct ifreq r = {0};
  check(!ioctl(fd, TUNGETIFF, &r) && !strcmp(r.ifr_name, name), "%s, not %s", r.ifr_name, name);
  check((r.ifr_flags & flags) == flags && !(r.ifr_flags & without), "%s: %x", name, r.ifr_flags);
}

static void verify(void) {
  static char frame[64] = {0x45, 0, 0, 20, [8] = 64, 59, [12] = 127, 0, 0, 9, 127, 0, 0, 9};
  struct ifreq r;
  int buffer = 0;
  check(ioctl(plain, TUNGETIFF, &r) == -1 && errno == EBADFD);
  is(tun, tun_name, IFF_TUN | IFF_NO_PI, IFF_PERSIST);
  is(first, tap_name, IFF_TAP | IFF_MULTI_QUEUE, IFF_PERSIST | IFF_DETACH_QUEUE);
  is(second, tap_name, IFF_TAP | IFF_MULTI_QUEUE | IFF_DETACH_QUEUE, IFF_PERSIST);
  check(ask(SIOCGIFINDEX, tun_name).ifr_ifindex == tun_index && ask(SIOCGIFINDEX, tap_name).ifr_ifindex == tap_index);
  check(ask(SIOCGIFMTU, tun_name).ifr_mtu == 1333 && ask(SIOCGIFFLAGS, tun_name).ifr_flags & IFF_UP);
  check(!ioctl(tun, TUNGETSNDBUF, &buffer) && buffer == 100000, "%d", buffer);
  check(write(tun, frame, 20) == 20);
  /* What is left of these behind four bytes of information is no header; without them it would be one. */
  check(write(first, frame, 17) == -1 && errno == EINVAL, "%s", "packets have no information in front of them");
}

int main(void) {
  int size = 100000;
  asker = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  snprintf(tun_name, IFNAMSIZ, "stn%d", getpid());
  snprintf(tap_name, IFNAMSIZ, "stp%d", getpid());
  plain = device();
  tun = attach(tun_name, IFF_TUN | IFF_NO_PI);
  first = attach(tap_name, IFF_TAP | IFF_MULTI_QUEUE);
  second = attach(tap_name, IFF_TAP | IFF_MULTI_QUEUE);
  struct ifreq detach = {.ifr_flags = IFF_DETACH_QUEUE};
  check(!ioctl(second, TUNSETQUEUE, &detach) && !ioctl(tun, TUNSETSNDBUF, &size));
  set_up(tun_name, 1333);
  tun_index = ask(SIOCGIFINDEX, tun_name).ifr_ifindex;
  tap_index = ask(SIOCGIFINDEX, tap_name).ifr_ifindex;
  close(asker);
  victim_ready();
  while (!victim_asked()) {
    asker = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    verify();
    close(asker);
    victim_nap(5);
  }
  asker = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  verify();
  victim_pass();
}
