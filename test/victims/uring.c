/*
 * Rings of io_uring at rest: plain, with large entries, without indices, of one thread alone, not enabled yet; with
 * completions that nobody has taken, requests that are not submitted yet, counters that have gone around, registered
 * buffers and files, and a ring that an epoll instance watches. Each look uses all of them.
 */
#include "uring.h"
#include <sys/epoll.h>

#define SENT 77

static Ring plain, large, unindexed, bound, deferred, disabled, many;
static char *buffer;
static int file, epoll;
static uint64_t turns;

/* Writes to the registered file from the registered buffer, and reads it back. */
static void use_registered(Ring *r) {
  snprintf(buffer, 64, "turn %016lu", (long)turns);
  int length = strlen(buffer);
  struct io_uring_sqe *sqe = ring_sqe(r);
  sqe->opcode = IORING_OP_WRITE_FIXED;
  sqe->flags = IOSQE_FIXED_FILE;
  sqe->fd = 1;
  sqe->addr = (uintptr_t)buffer;
  sqe->len = length;
  sqe->buf_index = 1;
  sqe->user_data = ++turns;
  check(ring_do(r, turns) == length);
  char got[64] = "";
  check(pread(file, got, sizeof got, 0) >= length && !strncmp(got, buffer, length), "%s", got);
  sqe = ring_sqe(r);
  sqe->opcode = IORING_OP_READ;
  sqe->flags = IOSQE_FIXED_FILE;
  sqe->fd = 0;
  sqe->addr = (uintptr_t)got;
  sqe->len = 8;
  sqe->user_data = ++turns;
  check(ring_do(r, turns) == -EBADF);
}

static void exercise(Ring *r) {
  for (int i = 0; i < 3; i++) {
    ring_nop(r, ++turns);
    check(ring_enter(r, 1, 1) == 1);
    ring_take(r, turns);
  }
}

/* Completions wait that nobody has taken, and requests that are not submitted. */
static void leave(Ring *r) {
  for (int i = 0; i < SENT % 5; i++) ring_nop(r, 1000 + i);
  check(ring_enter(r, SENT % 5, 0) == SENT % 5);
  for (int i = 0; i < 2; i++) ring_nop(r, 2000 + i);
}

static void collect(Ring *r) {
  check(ring_waiting(r) == SENT % 5, "%u wait", ring_waiting(r));
  for (int i = 0; i < SENT % 5; i++) ring_take(r, 1000 + i);
  check(ring_enter(r, 2, 2) == 2);
  for (int i = 0; i < 2; i++) ring_take(r, 2000 + i);
}

static void verify(void) {
  struct epoll_event event;
  check(epoll_wait(epoll, &event, 1, 0) == 1 && event.data.u64 == 5);
  Ring *rings[] = {&plain, &large, &unindexed, &bound, &deferred};
  for (unsigned i = 0; i < sizeof rings / sizeof *rings; i++) {
    collect(rings[i]);
    exercise(rings[i]);
    if (rings[i] == &plain) {
      check(epoll_wait(epoll, &event, 1, 0) == 0);
      use_registered(&plain);
    }
    leave(rings[i]);
  }
  exercise(&many);
  ring_nop(&disabled, 1);
  check(ring_enter(&disabled, 1, 0) == -1 && errno == EBADFD);
  --*WORD(&disabled, disabled.p.sq_off.tail);
}

int main(void) {
  ring_open(&plain, 8, 16, 0);
  ring_open(&large, 8, 8, IORING_SETUP_SQE128 | IORING_SETUP_CQE32);
  ring_open(&unindexed, 16, 64, URING_NO_SQARRAY | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN);
  ring_open(&bound, 4, 16, IORING_SETUP_SINGLE_ISSUER);
  ring_open(&deferred, 8, 8, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
  ring_open(&disabled, 8, 8, IORING_SETUP_R_DISABLED);
  ring_open(&many, 256, 512, 0);
  file = open("file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  buffer = mmap(0, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct iovec buffers[3] = {{buffer + PAGE, PAGE}, {buffer, 64}, {0, 0}};
  int files[2] = {-1, file};
  check(file >= 0 && !syscall(SYS_io_uring_register, plain.fd, IORING_REGISTER_BUFFERS, buffers, 3));
  check(!syscall(SYS_io_uring_register, plain.fd, IORING_REGISTER_FILES, files, 2));
  for (int turn = 0; turn < 400; turn++) {
    for (int i = 0; i < 256; i++) ring_nop(&many, i);
    check(ring_enter(&many, 256, 256) == 256);
    for (int i = 0; i < 256; i++) ring_take(&many, i);
  }
  /* More completions than requests: another ring sends some. */
  for (int i = 0; i < 5; i++) {
    struct io_uring_sqe *sqe = ring_sqe(&unindexed);
    sqe->opcode = IORING_OP_MSG_RING;
    sqe->fd = plain.fd;
    sqe->off = 50 + i;
    sqe->user_data = 9;
    check(ring_do(&unindexed, 9) == 0);
    ring_take(&plain, 50 + i);
  }
  epoll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {EPOLLIN, {.u64 = 5}};
  check(epoll >= 0 && !epoll_ctl(epoll, EPOLL_CTL_ADD, plain.fd, &event));
  leave(&plain);
  leave(&large);
  leave(&unindexed);
  leave(&bound);
  leave(&deferred);
  victim_ready();
  victim_loop(verify);
}
