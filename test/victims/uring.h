/* io_uring without a library: rings by system calls and mappings. */
#ifndef URING_H
#define URING_H

#include "victim.h"
#include <linux/io_uring.h>
#include <sys/uio.h>

#ifndef IORING_SETUP_SINGLE_ISSUER
#define IORING_SETUP_SINGLE_ISSUER (1U << 12)
#endif
#ifndef IORING_SETUP_DEFER_TASKRUN
#define IORING_SETUP_DEFER_TASKRUN (1U << 13)
#endif
#define URING_NO_SQARRAY (1U << 16)

typedef struct {
  int fd;
  unsigned flags;
  char *ring, *sqes;
  size_t ring_size, sqes_size;
  struct io_uring_params p;
} Ring;

#define WORD(of, offset) ((_Atomic unsigned *)((of)->ring + (offset)))

/* How long a thread of the kernel waits for requests before it sleeps (SQPOLL), in milliseconds; 0 for the usual. */
__attribute__((unused)) static unsigned ring_idle;

__attribute__((unused)) static void ring_open(Ring *r, unsigned entries, unsigned cq_entries, unsigned flags) {
  memset(r, 0, sizeof *r);
  r->flags = flags;
  r->p.flags = flags | IORING_SETUP_CQSIZE;
  r->p.cq_entries = cq_entries;
  r->p.sq_thread_idle = ring_idle;
  r->fd = syscall(SYS_io_uring_setup, entries, &r->p);
  if (r->fd < 0 && (errno == ENOSYS || errno == EPERM)) skip("no io_uring here");
  check(r->fd >= 0, "flags %x", flags);
  size_t cqes = r->p.cq_off.cqes + r->p.cq_entries * (flags & IORING_SETUP_CQE32 ? 32 : 16);
  r->ring_size = flags & URING_NO_SQARRAY ? cqes : r->p.sq_off.array + r->p.sq_entries * 4;
  if (r->ring_size < cqes) r->ring_size = cqes;
  r->sqes_size = r->p.sq_entries * (flags & IORING_SETUP_SQE128 ? 128 : 64);
  r->ring = mmap(0, r->ring_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_SQ_RING);
  r->sqes = mmap(0, r->sqes_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_SQES);
  check(r->ring != MAP_FAILED && r->sqes != MAP_FAILED);
}

/* The next free request, cleared; it is in the queue when ring_push() says so. */
__attribute__((unused)) static struct io_uring_sqe *ring_sqe(Ring *r) {
  unsigned tail = *WORD(r, r->p.sq_off.tail), i = tail & (r->p.sq_entries - 1);
  size_t size = r->flags & IORING_SETUP_SQE128 ? 128 : 64;
  struct io_uring_sqe *sqe = (void *)(r->sqes + i * size);
  memset(sqe, 0, size);
  if (!(r->flags & URING_NO_SQARRAY)) ((unsigned *)(r->ring + r->p.sq_off.array))[i] = i;
  return sqe;
}

__attribute__((unused)) static void ring_push(Ring *r) { ++*WORD(r, r->p.sq_off.tail); }

__attribute__((unused)) static int ring_enter(Ring *r, unsigned submit, unsigned wait) {
  for (;;) {
    int n = syscall(SYS_io_uring_enter, r->fd, submit, wait, IORING_ENTER_GETEVENTS, 0, 0);
    if (n >= 0 || errno != EINTR) return n;
  }
}

__attribute__((unused)) static void ring_nop(Ring *r, uint64_t data) {
  struct io_uring_sqe *sqe = ring_sqe(r);
  sqe->opcode = IORING_OP_NOP;
  sqe->user_data = data;
  ring_push(r);
}

__attribute__((unused)) static unsigned ring_waiting(Ring *r) { return *WORD(r, r->p.cq_off.tail) - *WORD(r, r->p.cq_off.head); }

/* Takes a completion, which must be there, and this one. */
__attribute__((unused)) static int ring_take(Ring *r, uint64_t data) {
  check(ring_waiting(r) > 0, "no completion %lx", (long)data);
  unsigned head = *WORD(r, r->p.cq_off.head), i = head & (r->p.cq_entries - 1);
  struct io_uring_cqe *cqe = (void *)(r->ring + r->p.cq_off.cqes + i * (r->flags & IORING_SETUP_CQE32 ? 32 : 16));
  check(cqe->user_data == data, "completion %lx, not %lx", (long)cqe->user_data, (long)data);
  int result = cqe->res;
  ++*WORD(r, r->p.cq_off.head);
  return result;
}

/* One request and its completion. */
__attribute__((unused)) static int ring_do(Ring *r, uint64_t data) {
  ring_push(r);
  check(ring_enter(r, 1, 1) == 1);
  return ring_take(r, data);
}

#endif
