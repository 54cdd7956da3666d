/*
 * Namespaces that no process is in: a child has made them and has ended, and the victim holds a descriptor of each. At
 * the end it sends processes into them, to see what is there.
 *
 *   heldns              network, UTS, IPC and time namespaces of the user namespace that it is in
 *   heldns user         a user namespace, and the same ones of that
 *   heldns owner        the same, but no descriptor of the user namespace
 *   heldns sockets      a network namespace that nothing keeps but sockets: one that listens, two that are connected
 */
#include "victim.h"
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdnoreturn.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* NS_GET_USERNS of ioctl_nsfs(2) */
#define OWNER _IO(0xb7, 0x1)
#define DAY 86400ll
enum { USER, NET, UTS, IPC, TIME, COUNT };
static const char *const NAMES[COUNT] = {"user", "net", "uts", "ipc", "time_for_children"};
static const int FLAGS[COUNT] = {CLONE_NEWUSER, CLONE_NEWNET, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWTIME};
static const key_t KEY = 0x57a515;
static int held[COUNT], other;
static bool in_user, keeps_user;

static void put(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  check(fd >= 0, "%s", path);
  check(write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s", path);
  close(fd);
}

static short lo_flags(void) {
  struct ifreq request = {.ifr_name = "lo"};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  check(fd >= 0 && !ioctl(fd, SIOCGIFFLAGS, &request));
  close(fd);
  return request.ifr_flags;
}

/* What the child does that makes the namespaces; `told` and `tell` are for its maps. */
static void make(int tell, int told) {
  char byte = 0;
  if (in_user) {
    check(!unshare(CLONE_NEWUSER));
    check(write(tell, &byte, 1) == 1 && read(told, &byte, 1) == 1);
    check(!setresgid(0, 0, 0) && !setresuid(0, 0, 0));
  }
  check(!unshare(CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC));
  if (unshare(CLONE_NEWTIME)) skip("no time namespace can be made");
  char offsets[100];
  snprintf(offsets, sizeof offsets, "monotonic %lld 0\nboottime %lld 0\n", 3 * DAY, 7 * DAY);
  if (!in_user) put("/proc/self/timens_offsets", offsets);
  check(!sethostname("held", 4));
  put("/proc/sys/net/ipv4/ip_forward", "1");
  struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  check(fd >= 0 && !ioctl(fd, SIOCSIFFLAGS, &request));
  int segment = shmget(KEY, 8 * PAGE, IPC_CREAT | 0600);
  void *at = segment < 0 ? (void *)-1 : shmat(segment, NULL, 0);
  check(at != (void *)-1);
  fill_known(at, 8 * PAGE, 5);
  struct {
    long type;
    char text[8];
  } message = {7, "waiting"};
  int queue = msgget(KEY, IPC_CREAT | 0600);
  check(queue >= 0 && !msgsnd(queue, &message, sizeof message.text, 0));
  check(write(tell, &byte, 1) == 1 && read(told, &byte, 1) == 1);
}

static int open_namespace(pid_t pid, const char *name) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/ns/%s", pid, name);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  check(fd >= 0, "%s", path);
  return fd;
}

static ino_t inode(int fd) {
  struct stat is;
  check(!fstat(fd, &is));
  return is.st_ino;
}

/* In a process that has entered all namespaces but that of time, into which its child is born. */
static void look_inside(int64_t boottime) {
  char text[200];
  check(!gethostname(text, sizeof text) && !strcmp(text, "held"), "%s", text);
  slurp("/proc/sys/net/ipv4/ip_forward", text, sizeof text);
  check(!strcmp(text, "1\n"), "ip_forward %s", text);
  check(lo_flags() & IFF_UP);
  int segment = shmget(KEY, 8 * PAGE, 0);
  void *at = segment < 0 ? (void *)-1 : shmat(segment, NULL, SHM_RDONLY);
  check(at != (void *)-1 && differs_known(at, 8 * PAGE, 5) < 0, "segment");
  struct {
    long type;
    char text[8];
  } message;
  check(msgrcv(msgget(KEY, 0), &message, sizeof message.text, 0, IPC_NOWAIT) == 8 && message.type == 7);
  check(!strcmp(message.text, "waiting"));
  if (in_user) {
    int lines = 0, from, to, count;
    slurp("/proc/self/uid_map", text, sizeof text);
    lines = sscanf(text, "%d %d %d", &from, &to, &count);
    check(lines == 3 && from == 0 && to == 0 && count == 5, "uid_map %s", text);
    slurp("/proc/self/setgroups", text, sizeof text);
    check(!strcmp(text, "deny\n"), "setgroups %s", text);
  }
  pid_t child = fork();
  if (!child) {
    int64_t ahead = now_ms(CLOCK_BOOTTIME) - boottime;
    int64_t right = in_user ? 0 : 7 * DAY * 1000;
    check(ahead >= right && ahead < right + 60000, "boottime is %ld ms ahead", (long)ahead);
    _exit(0);
  }
  int status;
  check(waitpid(child, &status, 0) == child && status == 0, "status %x", status);
}

static void verify(void) {
  check(inode(other) == inode(held[NET]));
  check(fcntl(held[UTS], F_GETFD) == FD_CLOEXEC && fcntl(other, F_GETFD) == 0);
  for (int i = in_user ? NET : COUNT; i < COUNT; i++) {
    int owner = ioctl(held[i], OWNER);
    check(owner >= 0, "%s", NAMES[i]);
    if (keeps_user) check(inode(owner) == inode(held[USER]), "%s", NAMES[i]);
    close(owner);
  }
  int64_t boottime = now_ms(CLOCK_BOOTTIME);
  pid_t child = fork();
  if (!child) {
    int user = in_user && !keeps_user ? ioctl(held[NET], OWNER) : held[USER];
    if (in_user) check(!setns(user, CLONE_NEWUSER));
    for (int i = NET; i < COUNT; i++) check(!setns(held[i], FLAGS[i]), "%s", NAMES[i]);
    look_inside(boottime);
    _exit(0);
  }
  int status;
  check(waitpid(child, &status, 0) == child && status == 0, "status %x", status);
}

static int listener, near, far;
static const struct sockaddr_in HERE = {.sin_family = AF_INET, .sin_port = 0x5715, .sin_addr = {0x0100007f}};

static int stream(void) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  check(fd >= 0);
  return fd;
}

static void talk(int from, int to) {
  char byte = 0;
  check(write(from, "x", 1) == 1 && read(to, &byte, 1) == 1 && byte == 'x');
}

static void verify_sockets(void) {
  talk(near, far);
  talk(far, near);
  struct sockaddr_in is;
  socklen_t length = sizeof is;
  check(!getsockname(listener, (void *)&is, &length) && is.sin_port == HERE.sin_port);
  pid_t child = fork();
  if (!child) {
    int net = ioctl(listener, SIOCGSKNS);
    check(net >= 0 && !setns(net, CLONE_NEWNET));
    int fd = stream();
    check(!connect(fd, (void *)&HERE, sizeof HERE));
    int other = accept(listener, NULL, NULL);
    check(other >= 0);
    talk(fd, other);
    _exit(0);
  }
  int status;
  check(waitpid(child, &status, 0) == child && status == 0, "status %x", status);
}

static noreturn void sockets(void) {
  int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  check(own >= 0 && !unshare(CLONE_NEWNET));
  struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
  listener = stream();
  check(!ioctl(listener, SIOCSIFFLAGS, &request));
  check(!bind(listener, (void *)&HERE, sizeof HERE) && !listen(listener, 3));
  near = stream();
  check(!connect(near, (void *)&HERE, sizeof HERE));
  far = accept(listener, NULL, NULL);
  check(far >= 0);
  check(!setns(own, CLONE_NEWNET) && !close(own));
  victim_ready();
  victim_wait();
  verify_sockets();
  victim_pass();
}

int main(int argc, char **argv) {
  if (argc > 1 && !strcmp(argv[1], "sockets")) sockets();
  in_user = argc > 1;
  keeps_user = in_user && !strcmp(argv[1], "user");
  int there[2], back[2];
  char byte = 0;
  check(!pipe(there) && !pipe(back));
  pid_t child = fork();
  if (!child) {
    make(there[1], back[0]);
    _exit(0);
  }
  if (in_user) {
    char path[64];
    check(read(there[0], &byte, 1) == 1);
    snprintf(path, sizeof path, "/proc/%d/setgroups", child);
    put(path, "deny");
    snprintf(path, sizeof path, "/proc/%d/uid_map", child);
    put(path, "0 0 5");
    snprintf(path, sizeof path, "/proc/%d/gid_map", child);
    put(path, "0 0 5");
    check(write(back[1], &byte, 1) == 1);
  }
  check(read(there[0], &byte, 1) == 1, "the child has failed");
  for (int i = keeps_user ? USER : NET; i < COUNT; i++) held[i] = open_namespace(child, NAMES[i]);
  other = open_namespace(child, "net");
  check(!fcntl(other, F_SETFD, 0));
  check(write(back[1], &byte, 1) == 1 && waitpid(child, NULL, 0) == child);
  for (int i = 0; i < 2; i++) close(there[i]), close(back[i]);
  victim_ready();
  victim_wait();
  verify();
  victim_pass();
}
