/*
 * Many descriptors of ten kinds, each with something of its own that can be told: manyfds COUNT.
 */
#include "victim.h"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#define KINDS 10
#define MOST 3000

enum { EVENT, TIMER, WATCH, PIPE, PIPE_END, PAIR, PAIR_END, DATAGRAM, MEMORY, OPEN };

static int fds[MOST][KINDS];
static int ports[MOST];
static int count;

static int port_of(int fd) {
  struct sockaddr_in at;
  socklen_t size = sizeof at;
  check(!getsockname(fd, (struct sockaddr *)&at, &size));
  return at.sin_port;
}

static void make(int i) {
  int *f = fds[i];
  char text[32];
  int length = snprintf(text, sizeof text, "number %d", i);
  f[EVENT] = eventfd(i + 1, EFD_NONBLOCK);
  f[TIMER] = timerfd_create(CLOCK_MONOTONIC, 0);
  struct itimerspec later = {.it_value.tv_sec = 100000 + i, .it_interval.tv_sec = i};
  check(!timerfd_settime(f[TIMER], 0, &later, NULL));
  f[WATCH] = epoll_create1(0);
  struct epoll_event event = {EPOLLIN, {.u64 = 1000 + i}};
  check(!epoll_ctl(f[WATCH], EPOLL_CTL_ADD, f[EVENT], &event));
  check(!pipe(f + PIPE) && write(f[PIPE_END], text, length) == length);
  check(!socketpair(AF_UNIX, i % 2 ? SOCK_DGRAM : SOCK_SEQPACKET, 0, f + PAIR));
  for (int end = PAIR; end <= PAIR_END; end++)
    for (int message = 0; message < 3; message++) check(send(f[end], text, length - message, 0) == length - message);
  f[DATAGRAM] = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  check(!bind(f[DATAGRAM], (struct sockaddr *)&at, sizeof at));
  ports[i] = port_of(f[DATAGRAM]);
  f[MEMORY] = memfd_create(text, 0);
  check(f[MEMORY] >= 0 && write(f[MEMORY], text, length) == length);
  f[OPEN] = open("file", O_RDWR | O_CREAT | (i % 2 ? O_APPEND : 0), 0600);
  check(f[OPEN] >= 0 && lseek(f[OPEN], i, SEEK_SET) == i);
}

static void verify(int i) {
  const int *f = fds[i];
  char text[32], got[64];
  int length = snprintf(text, sizeof text, "number %d", i);
  uint64_t value;
  struct epoll_event event;
  check(epoll_wait(f[WATCH], &event, 1, 0) == 1 && event.data.u64 == 1000u + i, "%d", i);
  check(read(f[EVENT], &value, 8) == 8 && value == i + 1u, "%d: %lu", i, (long)value);
  check(epoll_wait(f[WATCH], &event, 1, 0) == 0, "%d", i);
  struct itimerspec left;
  check(!timerfd_gettime(f[TIMER], &left) && left.it_interval.tv_sec == i, "%d", i);
  check(left.it_value.tv_sec > 90000 + i && left.it_value.tv_sec <= 100000 + i, "%d: %ld", i, (long)left.it_value.tv_sec);
  check(read(f[PIPE], got, sizeof got) == length && !memcmp(got, text, length), "%d", i);
  for (int end = PAIR; end <= PAIR_END; end++) {
    for (int message = 0; message < 3; message++) {
      ssize_t size = recv(f[end], got, sizeof got, MSG_DONTWAIT);
      check(size == length - message && !memcmp(got, text, size), "%d, message %d: %zd", i, message, size);
    }
    check(recv(f[end], got, sizeof got, MSG_DONTWAIT) < 0 && errno == EAGAIN, "%d", i);
  }
  check(port_of(f[DATAGRAM]) == ports[i], "%d", i);
  check(lseek(f[MEMORY], 0, SEEK_CUR) == length && pread(f[MEMORY], got, sizeof got, 0) == length, "%d", i);
  check(!memcmp(got, text, length), "%d", i);
  check(lseek(f[OPEN], 0, SEEK_CUR) == i && !(fcntl(f[OPEN], F_GETFL) & O_APPEND) == !(i % 2), "%d", i);
}

int main(int argc, char **argv) {
  count = (argc > 1 ? atoi(argv[1]) : 100) / KINDS;
  check(count > 0 && count <= MOST);
  struct rlimit files = {KINDS * count + 100, KINDS * count + 100};
  check(!setrlimit(RLIMIT_NOFILE, &files));
  for (int i = 0; i < count; i++) make(i);
  victim_ready();
  victim_wait();
  for (int i = 0; i < count; i++) verify(i);
  victim_pass();
}
