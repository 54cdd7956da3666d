/*
 * What cannot be carried, one thing at a time: "secret" memory with a descriptor, "secret-mapped" without, a POSIX
 * message queue that was removed ("unlinked-queue"), rings of io_uring ("uring…"), a working directory that is too
 * "deep", a file in it ("deep-file"), a "segment" of System V shared memory from an IPC namespace that was left, or one
 * that has the ID of one of ours ("same-segment"), a map of eBPF of a kind that is not carried ("bpf-lru"), one that a
 * program uses ("bpf-used"), a pipe by O_PATH ("bare-name"), and anonymous files: "perf", "userfaultfd", "landlock",
 * "fsopen", and "fuse".
 */
#include "../victims/uring.h"
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <mqueue.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/shm.h>

#define MEMFD_SECRET 447

static void secret(bool mapped_only) {
  int fd = syscall(MEMFD_SECRET, 0);
  if (fd < 0) skip("no memfd_secret here");
  check(!ftruncate(fd, PAGE));
  char *at = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  check(at != MAP_FAILED);
  at[0] = 's';
  if (mapped_only) close(fd);
}

static void unlinked_queue(void) {
  char name[64];
  snprintf(name, sizeof name, "/stasis-test-%d", getpid());
  struct mq_attr attr = {0, 4, 64};
  check(mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr) >= 0);
  check(!mq_unlink(name));
}

/* Rings of io_uring: a mapping whose descriptor is closed, requests that wait, and what is registered. */
static void uring(const char *how) {
  static Ring ring;
  int p[2];
  ring_open(&ring, 4, 8, 0);
  if (!*how) check(!close(ring.fd));
  else if (!strcmp(how, "-eventfd")) {
    int fd = eventfd(0, EFD_CLOEXEC);
    check(fd >= 0 && !syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_EVENTFD, &fd, 1));
  } else if (!strcmp(how, "-credentials")) {
    check(syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_PERSONALITY, 0, 0) > 0);
  } else if (!strcmp(how, "-number")) {
    struct io_uring_rsrc_update place = {.offset = -1u, .data = ring.fd};
    check(syscall(SYS_io_uring_register, ring.fd, 20 /* IORING_REGISTER_RING_FDS */, &place, 1) == 1);
  } else if (!strcmp(how, "-file")) {
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    check(fd >= 0 && !syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_FILES, &fd, 1) && !close(fd));
  } else {
    static struct __kernel_timespec hour = {3600, 0};
    struct io_uring_sqe *sqe = ring_sqe(&ring);
    check(!pipe2(p, O_CLOEXEC));
    sqe->opcode = !strcmp(how, "-timeout") ? IORING_OP_TIMEOUT : IORING_OP_POLL_ADD;
    if (sqe->opcode == IORING_OP_TIMEOUT) {
      sqe->addr = (uintptr_t)&hour;
      sqe->len = 1;
    } else {
      sqe->fd = p[0];
      sqe->poll_events = 1;
    }
    ring_push(&ring);
    check(ring_enter(&ring, 1, 0) == 1);
  }
}

static void deep(bool file_only) {
  char name[200];
  memset(name, 'd', sizeof name - 1);
  name[sizeof name - 1] = 0;
  int home = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (int i = 0; i < 25; i++) check(!mkdir(name, 0700) && !chdir(name));
  if (file_only) check(open("file", O_RDWR | O_CREAT, 0600) >= 0 && !fchdir(home));
  close(home);
}

/* One that has the same ID as a segment of our own namespace, and is two seconds younger. */
static void same_segment(void) {
  int id = shmget(IPC_PRIVATE, PAGE, IPC_CREAT | 0600);
  char number[20];
  check(id >= 0 && shmat(id, 0, 0) != (void *)-1 && !shmctl(id, IPC_RMID, 0));
  int own = open("/proc/self/ns/ipc", O_RDONLY | O_CLOEXEC);
  check(own >= 0 && !unshare(CLONE_NEWIPC));
  int next = open("/proc/sys/kernel/shm_next_id", O_WRONLY | O_CLOEXEC);
  if (next < 0) skip("IDs of segments cannot be chosen here");
  int length = snprintf(number, sizeof number, "%d", id);
  check(write(next, number, length) == length && !close(next));
  victim_nap(2100);
  check(shmget(IPC_PRIVATE, PAGE, IPC_CREAT | 0600) == id && shmat(id, 0, 0) != (void *)-1);
  check(!setns(own, CLONE_NEWIPC) && !close(own));
}

static void segment(void) {
  int own = open("/proc/self/ns/ipc", O_RDONLY | O_CLOEXEC);
  check(own >= 0 && !unshare(CLONE_NEWIPC));
  int id = shmget(IPC_PRIVATE, PAGE, IPC_CREAT | 0600);
  /* An ID our own namespace does not have, most likely. */
  for (int i = 0; i < 40; i++) id = shmget(IPC_PRIVATE, PAGE, IPC_CREAT | 0600);
  check(id >= 0 && shmat(id, 0, 0) != (void *)-1);
  check(!setns(own, CLONE_NEWIPC) && !close(own));
}

/* A pipe by O_PATH: it is no file that has a path. */
static void bare_name(void) {
  int p[2];
  char path[64];
  check(!pipe2(p, O_CLOEXEC));
  snprintf(path, sizeof path, "/proc/self/fd/%d", p[0]);
  check(open(path, O_PATH | O_CLOEXEC) >= 0);
}

/* Anonymous files of the kernel, by a system call each. */
static void anonymous(const char *what) {
  struct perf_event_attr counter = {.type = PERF_TYPE_SOFTWARE, .size = sizeof counter, .config = PERF_COUNT_SW_CPU_CLOCK};
  uint64_t handled = 1;
  int fd = -1;
  if (!strcmp(what, "perf")) fd = syscall(SYS_perf_event_open, &counter, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
  else if (!strcmp(what, "userfaultfd")) fd = syscall(SYS_userfaultfd, O_CLOEXEC);
  else if (!strcmp(what, "landlock")) fd = syscall(444 /* landlock_create_ruleset */, &handled, sizeof handled, 0);
  else if (!strcmp(what, "fsopen")) fd = syscall(430 /* fsopen */, "tmpfs", 1);
  else if (!strcmp(what, "fuse")) fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (fd < 0) skip("no %s here", what);
}

static int bpf_map(int type) {
  union bpf_attr attr = {.map_type = type, .key_size = 4, .value_size = 8, .max_entries = 4, .map_name = "refused"};
  int fd = syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof attr);
  if (fd < 0) skip("no eBPF here");
  return fd;
}

/* r1 = map; r0 = 0; exit */
static void bpf_used(void) {
  int map = bpf_map(BPF_MAP_TYPE_ARRAY);
  struct bpf_insn code[] = {
      {.code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = 1, .src_reg = BPF_PSEUDO_MAP_FD, .imm = map},
      {0},
      {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0},
      {.code = BPF_JMP | BPF_EXIT},
  };
  union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_SOCKET_FILTER, .insn_cnt = 4, .prog_name = "user"};
  attr.insns = (uintptr_t)code;
  attr.license = (uintptr_t) "GPL";
  check(syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr) >= 0);
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";
  if (!strncmp(what, "secret", 6)) secret(!strcmp(what, "secret-mapped"));
  else if (!strcmp(what, "unlinked-queue")) unlinked_queue();
  else if (!strncmp(what, "uring", 5)) uring(what + 5);
  else if (!strncmp(what, "deep", 4)) deep(!strcmp(what, "deep-file"));
  else if (!strcmp(what, "bare-name")) bare_name();
  else if (!strcmp(what, "bpf-lru")) bpf_map(BPF_MAP_TYPE_LRU_HASH);
  else if (!strcmp(what, "bpf-used")) bpf_used();
  else if (!strcmp(what, "segment")) segment();
  else if (!strcmp(what, "same-segment")) same_segment();
  else anonymous(what);
  victim_ready();
  for (;;) {
    if (victim_asked()) victim_pass();
    victim_nap(5);
  }
}
