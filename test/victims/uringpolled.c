/*
 * A ring of io_uring whose requests a thread of the kernel takes (SQPOLL), as Node.js has one: used all the time,
 * watched by an epoll instance, with a registered buffer; one whose thread sleeps; and one whose thread sleeps while a
 * request is in its queue, before the program wakes it.
 */
#include "uring.h"
#include <stdatomic.h>
#include <sys/epoll.h>

static Ring busy, idle, asleep;
static int epoll, file;
static char *buffer;
static uint64_t turns;

/* Waits for a completion, a little. */
static void await(Ring *r, unsigned count) {
  if (atomic_load(WORD(r, r->p.sq_off.flags)) & IORING_SQ_NEED_WAKEUP)
    check(syscall(SYS_io_uring_enter, r->fd, 0, 0, IORING_ENTER_SQ_WAKEUP, 0, 0) == 0);
  for (int i = 0; ring_waiting(r) < count; i++) {
    check(i < 5000, "nobody takes the requests");
    victim_nap(1);
  }
}

static void write_fixed(Ring *r) {
  snprintf(buffer, 64, "turn %016lu", (long)++turns);
  struct io_uring_sqe *sqe = ring_sqe(r);
  sqe->opcode = IORING_OP_WRITE_FIXED;
  sqe->fd = file;
  sqe->addr = (uintptr_t)buffer;
  sqe->len = strlen(buffer);
  sqe->user_data = turns;
  ring_push(r);
  await(r, 1);
  check(ring_take(r, turns) == (int)strlen(buffer));
  char got[64] = "";
  check(pread(file, got, sizeof got, 0) > 0 && !strcmp(got, buffer), "%s", got);
}

static void verify(void) {
  struct epoll_event event;
  check(epoll_wait(epoll, &event, 1, 0) == 1 && event.data.u64 == 7);
  await(&busy, 1);
  ring_take(&busy, 99);
  check(epoll_wait(epoll, &event, 1, 0) == 0);
  write_fixed(&busy);
  ring_nop(&busy, 99);
  await(&busy, 1);
}

int main(void) {
  ring_open(&busy, 8, 16, IORING_SETUP_SQPOLL);
  ring_open(&idle, 8, 16, IORING_SETUP_SQPOLL);
  file = open("file", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  buffer = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct iovec registered = {buffer, PAGE};
  check(file >= 0 && !syscall(SYS_io_uring_register, busy.fd, IORING_REGISTER_BUFFERS, &registered, 1));
  epoll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {EPOLLIN, {.u64 = 7}};
  check(epoll >= 0 && !epoll_ctl(epoll, EPOLL_CTL_ADD, busy.fd, &event));
  for (int i = 0; i < 1000; i++) {
    ring_nop(&idle, i);
    await(&idle, 1);
    ring_take(&idle, i);
  }
  ring_idle = 1;
  ring_open(&asleep, 8, 16, IORING_SETUP_SQPOLL);
  while (!(atomic_load(WORD(&asleep, asleep.p.sq_off.flags)) & IORING_SQ_NEED_WAKEUP)) victim_nap(1);
  ring_nop(&asleep, 77);
  ring_nop(&busy, 99);
  await(&busy, 1);
  victim_ready();
  victim_watch(verify);
  ring_nop(&idle, 1234);
  await(&idle, 1);
  ring_take(&idle, 1234);
  await(&asleep, 1);
  ring_take(&asleep, 77);
  victim_pass();
}
