/*
 * Families to measure with; the parent says "ready" when all of it stands.
 *
 *     loads tasks N           N processes: a parent and its children, each with some pages of its own
 *     loads threads N         one process of N threads
 *     loads prefork MIB N     a parent and N children that share MIB mebibytes copy-on-write; each child wrote to one
 *                             page in 64
 *     loads connections N     one process with both ends of N connections of TCP, bytes waiting in both directions
 *     loads pairs N           one process with N pairs of Unix sockets, three messages waiting in each direction
 *     loads descriptors N     one process with N descriptors of 8 kinds
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { PAGE = 4096 };
static volatile int *ready; /* shared by all */

static void fill(char *at, size_t pages, long seed) {
  for (size_t i = 0; i < pages; i++) memset(at + i * PAGE, (int)(seed + i * 7) | 1, PAGE);
}

static char *memory(size_t size, int flags) {
  char *at = mmap(0, size, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) perror("mmap"), exit(2);
  return at;
}

static _Noreturn void rest(void) {
  __atomic_add_fetch(ready, 1, __ATOMIC_SEQ_CST);
  for (;;) pause();
}

static void *thread(void *unused) {
  (void)unused;
  rest();
}

static void await(int count) {
  while (__atomic_load_n(ready, __ATOMIC_SEQ_CST) < count) usleep(1000);
  dprintf(1, "ready\n");
}

static int must(int result, const char *what) {
  if (result < 0) perror(what), exit(2);
  return result;
}

static void put(int fd, int length) {
  static char bytes[4096];
  must((int)send(fd, bytes, (size_t)length, 0), "send");
}

static void connections(long n) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof at;
  int listener = must(socket(AF_INET, SOCK_STREAM, 0), "socket");
  must(bind(listener, (struct sockaddr *)&at, size), "bind");
  must(listen(listener, 16), "listen");
  must(getsockname(listener, (struct sockaddr *)&at, &size), "getsockname");
  for (long i = 0; i < n; i++) {
    int one = must(socket(AF_INET, SOCK_STREAM, 0), "socket");
    must(connect(one, (struct sockaddr *)&at, size), "connect");
    int other = must(accept(listener, NULL, NULL), "accept");
    put(one, 1 + (int)(i * 37 % 3000));
    put(other, 1 + (int)(i * 101 % 3000));
  }
}

static void pairs(long n) {
  for (long i = 0; i < n; i++) {
    int ends[2];
    must(socketpair(AF_UNIX, i % 2 ? SOCK_DGRAM : SOCK_STREAM, 0, ends), "socketpair");
    for (int end = 0; end < 2; end++)
      for (int message = 0; message < 3; message++) put(ends[end], 20 + (int)(i % 50));
  }
}

/* Descriptors of eight kinds; pipes and pairs are two each. */
static void descriptors(long n) {
  int ends[2] = {-1, -1};
  for (long i = 0; i < n; i += 10) {
    must(eventfd((unsigned)i, 0), "eventfd");
    must(timerfd_create(CLOCK_MONOTONIC, 0), "timerfd_create");
    must(epoll_create1(0), "epoll_create1");
    must(pipe(ends), "pipe");
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), "socketpair");
    must(socket(AF_INET, SOCK_DGRAM, 0), "socket");
    must(open("/dev/null", O_RDWR), "/dev/null");
    must(open("/etc/passwd", O_RDONLY), "/etc/passwd");
  }
}

int main(int argc, char **argv) {
  close_range(3, ~0u, 0);
  if (argc < 3) return 2;
  ready = (int *)memory(PAGE, MAP_SHARED);
  long n = atol(argv[argc - 1]);
  struct rlimit files = {20000, 20000};
  must(setrlimit(RLIMIT_NOFILE, &files), "setrlimit");
  void (*fds)(long) = !strcmp(argv[1], "connections")   ? connections
                      : !strcmp(argv[1], "pairs")       ? pairs
                      : !strcmp(argv[1], "descriptors") ? descriptors
                                                        : NULL;
  if (fds) {
    fds(n);
    await(0);
    rest();
  }
  if (!strcmp(argv[1], "threads")) {
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 64 << 10);
    pthread_t id;
    for (long i = 1; i < n; i++)
      if (pthread_create(&id, &attr, thread, 0)) return perror("pthread_create"), 2;
    await((int)n - 1);
    rest();
  }
  int prefork = !strcmp(argv[1], "prefork");
  size_t pages = prefork ? strtoul(argv[2], 0, 10) << 8 : 16;
  char *block = memory(pages * PAGE, MAP_PRIVATE);
  fill(block, pages, 1);
  long children = prefork ? n : n - 1;
  for (long i = 0; i < children; i++) {
    pid_t pid = fork();
    if (pid < 0) return perror("fork"), 2;
    if (pid > 0) continue;
    for (size_t page = 0; page < pages; page += prefork ? 64 : 1) memset(block + page * PAGE, (int)i | 1, PAGE);
    rest();
  }
  await((int)children);
  rest();
}
