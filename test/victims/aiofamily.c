/*
 * Contexts of asynchronous I/O in a family: a child has its parent's ring in its memory, and a context of its own;
 * threads use the context of their process.
 */
#include "family.h"
#include <linux/aio_abi.h>
#include <pthread.h>

static aio_context_t context;
static int null;
static _Atomic int turns;

static void turn(int mark) {
  static char byte;
  struct iocb request = {.aio_data = mark, .aio_fildes = null, .aio_buf = (uintptr_t)&byte, .aio_nbytes = 1};
  request.aio_lio_opcode = IOCB_CMD_PWRITE;
  struct iocb *list[] = {&request};
  struct io_event event;
  check(syscall(SYS_io_submit, context, 1l, list) == 1);
  check(syscall(SYS_io_getevents, context, 1l, 1l, &event, 0l) == 1 && event.data == (unsigned)mark && event.res == 1);
}

static void *spin(void *none) {
  for (;; victim_nap(3)) {
    turn(1000 + turns);
    turns++;
  }
  return none;
}

static void verify(void) {
  for (int before = turns, look = 0; turns == before; look++) {
    check(look < 2000, "the thread does not go on");
    victim_nap(1);
  }
}

int main(void) {
  family_found(2);
  null = open("/dev/null", O_WRONLY);
  if (syscall(SYS_io_setup, 8l, &context)) skip("no asynchronous I/O");
  turn(1);
  int number = fork() ? 0 : 1;
  if (number) {
    context = 0;
    check(!syscall(SYS_io_setup, 8l, &context));
  }
  turn(2);
  pthread_t thread;
  check(!pthread_create(&thread, 0, spin, 0));
  family_born(number);
  family_live(verify);
}
