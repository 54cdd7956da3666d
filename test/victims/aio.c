/* Asynchronous I/O: contexts with completed requests nobody has fetched yet, the ring wrapped around or not. */
#include "victim.h"
#include <linux/aio_abi.h>

static aio_context_t fresh, some, wrapped;
static int null;

static void submit(aio_context_t context, int from, int count) {
  for (int i = from; i < from + count; i++) {
    static char byte;
    struct iocb request = {.aio_data = 1000 + i, .aio_fildes = null, .aio_buf = (uintptr_t)&byte, .aio_nbytes = 1};
    request.aio_lio_opcode = IOCB_CMD_PWRITE;
    struct iocb *list[] = {&request};
    check(syscall(SYS_io_submit, context, 1l, list) == 1, "request %d", i);
  }
}

static void fetch(aio_context_t context, int from, int count) {
  struct io_event event;
  struct timespec none = {0, 0};
  for (int i = from; i < from + count; i++) {
    check(syscall(SYS_io_getevents, context, 1l, 1l, &event, &none) == 1, "event %d", i);
    check(event.data == 1000u + i && event.res == 1, "event %d is of %d", i, (int)event.data - 1000);
  }
}

static void nothing(aio_context_t context) {
  struct io_event event;
  struct timespec none = {0, 0};
  check(syscall(SYS_io_getevents, context, 0l, 1l, &event, &none) == 0);
}

int main(void) {
  null = open("/dev/null", O_WRONLY);
  if (syscall(SYS_io_setup, 4l, &fresh)) skip("no asynchronous I/O");
  check(!syscall(SYS_io_setup, 200l, &some) && !syscall(SYS_io_setup, 1l, &wrapped));
  submit(some, 0, 7);
  fetch(some, 0, 3);
  uint32_t size = ((uint32_t *)wrapped)[1];
  for (uint32_t i = 0; i < size - 2; i++) {
    submit(wrapped, i, 1);
    fetch(wrapped, i, 1);
  }
  submit(wrapped, size - 2, 5);
  victim_ready();
  victim_wait();
  fetch(some, 3, 4);
  nothing(some);
  fetch(wrapped, size - 2, 5);
  nothing(wrapped);
  nothing(fresh);
  for (int i = 0; i < 300; i++) {
    submit(fresh, i, 1);
    submit(some, i, 1);
    submit(wrapped, i, 1);
    fetch(fresh, i, 1);
    fetch(some, i, 1);
    fetch(wrapped, i, 1);
  }
  check(!syscall(SYS_io_destroy, some) && !syscall(SYS_io_destroy, fresh) && !syscall(SYS_io_destroy, wrapped));
  victim_pass();
}
