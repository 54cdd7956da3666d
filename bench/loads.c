/*
 * Families to measure with; the parent says "ready" when all of it stands.
 *
 *     loads tasks N           N processes: a parent and its children, each with some pages of its own
 *     loads threads N         one process of N threads
 *     loads prefork MIB N     a parent and N children that share MIB mebibytes copy-on-write; each child wrote to one
 *                             page in 64
 *     loads writer MIB PERMILLE small|huge
 *                             one process of MIB mebibytes, in pages of 4 KiB or huge ones; a second thread writes to
 *                             PERMILLE of a thousand pages, one after the other without a pause. On SIGUSR1 it says how
 *                             many microseconds lay between two writes at most since the last time, and how many writes
 *                             there were
 *     loads connections N     one process with both ends of N connections of TCP, bytes waiting in both directions
 *     loads pairs N           one process with N pairs of Unix sockets, three messages waiting in each direction
 *     loads descriptors N     one process with N descriptors of 8 kinds
 *     loads container ROOT tasks|mounts|links N
 *                             an init in PID, mount, network, IPC and UTS namespaces of its own, with ROOT as its root
 *                             directory: N processes, or one with N mounts, or one with N devices; "ready" is followed
 *                             by its PID, and the parent ends
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
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

static struct {
  char *at;
  size_t pages, step;
  volatile long longest, writes;
} writing;

static long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void *writer(void *unused) {
  (void)unused;
  for (long last = now();;) {
    for (size_t i = 0; i < writing.pages; i += writing.step) {
      writing.at[i * PAGE]++;
      long at = now();
      if (at - last > writing.longest) writing.longest = at - last;
      last = at;
      writing.writes++;
    }
  }
  return 0;
}

static void tell(int signal) {
  (void)signal;
  dprintf(1, "%ld %ld\n", writing.longest / 1000, writing.writes);
  writing.longest = writing.writes = 0;
}

/* Fills memory, and has a thread write to some of it. */
static _Noreturn void write_on(long mebibytes, long permille, int huge) {
  size_t size = (size_t)mebibytes << 20, two = 2 << 20;
  char *at = memory(size + two, MAP_PRIVATE);
  at = (char *)(((size_t)at + two - 1) & ~(two - 1));
  madvise(at, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  writing.at = at;
  writing.pages = size / PAGE;
  writing.step = permille > 0 ? 1000 / permille : 0;
  fill(at, writing.pages, 1);
  signal(SIGUSR1, tell);
  pthread_t id;
  if (permille > 0 && pthread_create(&id, 0, writer, 0) != 0) perror("pthread_create"), exit(2);
  dprintf(1, "ready\n");
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

static void run(const char *line) {
  if (system(line)) fprintf(stderr, "%s failed\n", line), exit(2);
}

static _Noreturn void container(const char *root, const char *what, long n, int told) {
  char line[200];
  must(setsid(), "setsid");
  must(mount(0, "/", 0, MS_PRIVATE | MS_REC, 0), "mount");
  run("ip link set lo up");
  for (long i = 0; !strcmp(what, "links") && i < n; i += 2) {
    snprintf(line, sizeof line, "ip link add a%ld type veth peer name b%ld && ip link set a%ld up", i, i, i);
    run(line);
  }
  must(mount(root, root, 0, MS_BIND, 0), "mount");
  must(chdir(root), "chdir");
  must((int)syscall(SYS_pivot_root, ".", "."), "pivot_root");
  must(umount2(".", MNT_DETACH), "umount2");
  must(mount("proc", "/proc", "proc", 0, 0), "mount");
  snprintf(line, sizeof line, "%ld", n);
  must(dup2(told, 3), "dup2");
  must(close_range(4, ~0u, 0), "close_range");
  must(execl("/loads", "loads", "inside", what, line, NULL), "exec");
  abort();
}

/* What a container does whose root is its own. */
static _Noreturn void inside(const char *what, long n) {
  char line[200];
  for (long i = 0; !strcmp(what, "mounts") && i < n; i++) {
    snprintf(line, sizeof line, "/mounts/%ld", i);
    if (mkdir(line, 0755) && access(line, F_OK)) perror(line), exit(2);
    must(mount("/proc/..", line, 0, MS_BIND, 0), line);
  }
  close_range(0, 2, 0);
  long children = strcmp(what, "tasks") ? 0 : n - 1;
  for (long i = 0; i < children; i++) {
    if (must(fork(), "fork")) continue;
    close(3);
    fill(memory(16 * PAGE, MAP_PRIVATE), 16, i);
    rest();
  }
  while (__atomic_load_n(ready, __ATOMIC_SEQ_CST) < children) usleep(1000);
  if (write(3, "x", 1) != 1) exit(2);
  close(3);
  rest();
}

static int contain(char **argv) {
  long n = atol(argv[4]);
  int all = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
  must(unshare(all), "unshare");
  int ends[2];
  char byte;
  must(pipe(ends), "pipe");
  pid_t pid = must(fork(), "fork");
  if (pid == 0) container(argv[2], argv[3], n, ends[1]);
  close(ends[1]);
  if (read(ends[0], &byte, 1) != 1) return 2;
  dprintf(1, "ready %d\n", pid);
  return 0;
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  close_range(strcmp(argv[1], "inside") ? 3 : 4, ~0u, 0);
  ready = (int *)memory(PAGE, MAP_SHARED);
  if (!strcmp(argv[1], "container") && argc == 5) return contain(argv);
  if (!strcmp(argv[1], "inside") && argc == 4) inside(argv[2], atol(argv[3]));
  long n = atol(argv[argc - 1]);
  struct rlimit files = {20000, 20000};
  must(setrlimit(RLIMIT_NOFILE, &files), "setrlimit");
  if (!strcmp(argv[1], "writer") && argc == 5) write_on(atol(argv[2]), atol(argv[3]), !strcmp(argv[4], "huge"));
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
