/*
 * A user namespace with two lines of maps and an own of every other kind, and who is who in it: users, groups,
 * capabilities; owners of files, of a deleted file, a memfd, a terminal, System V objects, the sender of a message, the
 * other end of a pair of sockets; options of a file system. The program itself stays outside, and starts the victim.
 */
#include "family.h"
#include <grp.h>
#include <linux/capability.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

enum { ROOT, USER, COUNT };
enum { A_USER = 100005, A_GROUP = 50007, OTHER = 77 };

static char status_was[4096], maps_was[512];

static void who_am_i(char *to, size_t room) {
  static const char *keys[] = {"\nUid:", "\nGid:", "\nGroups:", "\nCapInh:", "\nCapPrm:", "\nCapEff:", "\nCapBnd:", "\nCapAmb:"};
  static char text[8192];
  slurp("/proc/self/status", text, sizeof text);
  size_t at = 0;
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    const char *line = strstr(text, keys[i]);
    check(line);
    at += snprintf(to + at, room - at, "%.*s;", (int)strcspn(line + 1, "\n"), line + 1);
  }
}

static void the_maps(char *to, size_t room) {
  size_t at = slurp("/proc/self/uid_map", to, room);
  at += slurp("/proc/self/gid_map", to + at, room - at);
  slurp("/proc/self/setgroups", to + at, room - at);
}

static int ghost = -1, memory, terminal, slave, pair[2], letters[2];
static int segment, array;

static void owned(const char *what, int fd, unsigned uid, unsigned gid) {
  struct stat is;
  check(!fstat(fd, &is) && is.st_uid == uid && is.st_gid == gid, "%s: owner %u:%u", what, is.st_uid, is.st_gid);
}

static void file_owned(const char *path, unsigned uid, unsigned gid) {
  struct stat is;
  check(!lstat(path, &is) && is.st_uid == uid && is.st_gid == gid, "%s: owner %u:%u", path, is.st_uid, is.st_gid);
}

static void verify(void) {
  static char now[4096], maps[512];
  who_am_i(now, sizeof now);
  check(!strcmp(now, status_was), "%.200s, was %.200s", now, status_was);
  the_maps(maps, sizeof maps);
  check(!strcmp(maps, maps_was), "maps %s", maps);
  struct ucred creds;
  socklen_t size = sizeof creds;
  check(!getsockopt(pair[0], SOL_SOCKET, SO_PEERCRED, &creds, &size) && creds.uid == OTHER && creds.gid == OTHER,
        "made by %u:%u", creds.uid, creds.gid);
  if (me != ROOT) return;
  owned("ghost", ghost, A_USER, A_GROUP);
  owned("memfd", memory, 12, 50001);
  owned("terminal", slave, 3, 5);
  file_owned("/mnt/file", A_USER, A_GROUP);
  file_owned("/mnt/link", 19999, 49999);
  file_owned("/mnt/socket", OTHER, OTHER);
  file_owned("/mnt", 5, 50006);
  struct shmid_ds shm;
  check(!shmctl(segment, IPC_STAT, &shm) && shm.shm_perm.uid == A_USER && shm.shm_perm.cuid == OTHER, "segment %u %u",
        shm.shm_perm.uid, shm.shm_perm.cuid);
  struct semid_ds sem;
  union {
    struct semid_ds *buf;
  } as = {&sem};
  check(!semctl(array, 0, IPC_STAT, as) && sem.sem_perm.gid == A_GROUP, "array %u", sem.sem_perm.gid);
  char host[65];
  check(!gethostname(host, sizeof host) && !strcmp(host, "inside"));
}

/* The sender of the message, which is taken out once. */
static void last(void) {
  verify();
  if (me != ROOT) return;
  char byte, control[CMSG_SPACE(sizeof(struct ucred))];
  struct iovec iov = {&byte, 1};
  struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  check(recvmsg(letters[0], &header, 0) == 1 && CMSG_FIRSTHDR(&header));
  struct ucred creds;
  memcpy(&creds, CMSG_DATA(CMSG_FIRSTHDR(&header)), sizeof creds);
  check(creds.uid == OTHER && creds.gid == A_GROUP && creds.pid == getpid(), "sent by %d, %u:%u", creds.pid, creds.uid,
        creds.gid);
  /* What root may do inside it may do still. */
  check(!mkdir("/mnt/new", 0700) && !chown("/mnt/new", A_USER, A_GROUP));
  check(!mount("tmpfs", "/mnt/new", "tmpfs", 0, 0) && !umount("/mnt/new"));
  check(!sethostname("other", 5));
}

static void as_other(void) { check(!setresgid(-1, OTHER, -1) && !setresuid(-1, OTHER, -1)); }
static void as_root(void) { check(!setresuid(-1, 0, -1) && !setresgid(-1, 0, -1)); }

static void make_files(void) {
  check(!mount("none", "/", 0, MS_REC | MS_PRIVATE, 0));
  check(!mount("files", "/mnt", "tmpfs", 0, "uid=5,gid=50006,mode=755"));
  check(!mount("proc", "/proc", "proc", 0, 0));
  int fd = open("/mnt/file", O_RDWR | O_CREAT | O_CLOEXEC, 0640);
  check(fd >= 0 && write(fd, "text", 4) == 4 && !fchown(fd, A_USER, A_GROUP) && !close(fd));
  check(!symlink("file", "/mnt/link") && !lchown("/mnt/link", 19999, 49999));
  ghost = open("/mnt/ghost", O_RDWR | O_CREAT, 0600);
  check(ghost >= 0 && !fchown(ghost, A_USER, A_GROUP) && !unlink("/mnt/ghost"));
  memory = syscall(SYS_memfd_create, "memory", 0);
  check(memory >= 0 && !fchown(memory, 12, 50001));
  check(!openpty(&terminal, &slave, 0, 0, 0) && !fchown(slave, 3, 5));
}

static void make_objects(void) {
  int on = 1;
  as_other();
  segment = shmget(4711, 8192, IPC_CREAT | 0600);
  check(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
  as_root();
  struct shmid_ds shm;
  check(segment >= 0 && !shmctl(segment, IPC_STAT, &shm));
  shm.shm_perm.uid = A_USER;
  check(!shmctl(segment, IPC_SET, &shm));
  array = semget(4712, 2, IPC_CREAT | 0600);
  struct semid_ds sem;
  union {
    struct semid_ds *buf;
  } as = {&sem};
  check(array >= 0 && !semctl(array, 0, IPC_STAT, as));
  sem.sem_perm.gid = A_GROUP;
  check(!semctl(array, 0, IPC_SET, as));
  check(!socketpair(AF_UNIX, SOCK_DGRAM, 0, letters));
  check(!setsockopt(letters[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
  struct ucred creds = {getpid(), OTHER, A_GROUP};
  char byte = 'x', control[CMSG_SPACE(sizeof creds)] = {0};
  struct iovec iov = {&byte, 1};
  struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr *item = CMSG_FIRSTHDR(&header);
  item->cmsg_level = SOL_SOCKET;
  item->cmsg_type = SCM_CREDENTIALS;
  item->cmsg_len = CMSG_LEN(sizeof creds);
  memcpy(CMSG_DATA(item), &creds, sizeof creds);
  check(sendmsg(letters[1], &header, 0) == 1);
  int listening = socket(AF_UNIX, SOCK_STREAM, 0);
  struct sockaddr_un name = {AF_UNIX, "/mnt/socket"};
  check(!bind(listening, (void *)&name, sizeof name) && !listen(listening, 3) && !chown("/mnt/socket", OTHER, OTHER));
}

/* Another user, who keeps a few capabilities that hold inside only. */
static void become_user(void) {
  gid_t groups[] = {0, A_GROUP, 49000};
  check(!setgroups(3, groups) && !prctl(PR_SET_KEEPCAPS, 1) && !setresgid(1, A_GROUP, 3) && !setresuid(A_USER, 4, A_USER));
  setfsuid(9);
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  uint32_t few = 1u << CAP_NET_ADMIN | 1u << CAP_CHOWN;
  struct __user_cap_data_struct data[2] = {{few, few, 0}, {0, 0, 0}};
  check(!syscall(SYS_capset, &header, data));
}

static void be_root(void) {
  check(getpid() == 1 && !setgroups(0, 0) && !setresgid(0, 0, 0) && !setresuid(0, 0, 0) && setsid() == 1);
  make_files();
  check(!sethostname("inside", 6));
  make_objects();
  family_found(COUNT);
  int number = fork() ? ROOT : USER;
  if (number == USER) become_user();
  family_born(number);
  who_am_i(status_was, sizeof status_was);
  the_maps(maps_was, sizeof maps_was);
  family_live_and(verify, last);
}

static void map(pid_t pid, const char *name, const char *lines) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  check(fd >= 0 && write(fd, lines, strlen(lines)) == (ssize_t)strlen(lines), "%s", path);
  close(fd);
}

int main(void) {
  int go[2];
  char byte;
  check(!chown(".", 20000, 400000) && !pipe2(go, O_CLOEXEC));
  long flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
  pid_t child = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
  check(child >= 0);
  if (child == 0) {
    check(read(go[0], &byte, 1) == 1 && !close(go[0]) && !close(go[1]));
    be_root();
  }
  map(child, "uid_map", "0 20000 20000\n100000 200000 50000\n");
  map(child, "gid_map", "0 400000 50000\n50000 500000 100000\n");
  check(write(go[1], "x", 1) == 1);
  /* It says itself how it went; what is said here would be said of another process. */
  close(0), close(1), close(2);
  waitpid(child, 0, 0);
  return 0;
}
