/*
 * Descriptors of a POSIX message queue of the host, two for one open file and one for another. mqueues NOTIFIED asks to
 * be told of the next message.
 */
#include "victim.h"
#include <mqueue.h>
#include <signal.h>

static mqd_t queue, again, reader;
static char name[40];

static void verify(void) {
  struct mq_attr is;
  check(!mq_getattr(queue, &is) && is.mq_curmsgs == 1 && is.mq_maxmsg == 3 && is.mq_flags == O_NONBLOCK);
  check(!mq_getattr(again, &is) && is.mq_flags == O_NONBLOCK);
  check(!mq_getattr(reader, &is) && is.mq_curmsgs == 1 && is.mq_flags == 0);
}

static void last(void) {
  char text[64];
  unsigned priority;
  check(mq_send(reader, "no", 2, 0) < 0 && errno == EBADF);
  check(!mq_send(queue, "second", 6, 2));
  check(mq_receive(reader, text, sizeof text, &priority) == 5 && priority == 7 && !memcmp(text, "first", 5));
  check(mq_receive(reader, text, sizeof text, &priority) == 6);
  check(mq_receive(again, text, sizeof text, 0) < 0 && errno == EAGAIN);
  check(!mq_unlink(name));
}

int main(int argc, char **argv) {
  (void)argv;
  snprintf(name, sizeof name, "/stasis-victim-%d", getpid());
  struct mq_attr attributes = {.mq_maxmsg = 3, .mq_msgsize = 64};
  queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK | O_CLOEXEC, 0600, &attributes);
  if (queue < 0) skip("no message queue can be made");
  again = dup(queue);
  reader = mq_open(name, O_RDONLY | O_CLOEXEC);
  check(again >= 0 && reader >= 0 && !mq_send(queue, "first", 5, 7));
  if (argc > 1) {
    struct sigevent told = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    check(!mq_notify(queue, &told));
  }
  victim_ready();
  victim_watch(verify);
  last();
  victim_pass();
}
