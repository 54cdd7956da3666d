/*
 * Watches of epoll instances under numbers that are not the files' any more: closed, used again, used again by the
 * instance itself, two of one file, and shared with a child that has other numbers for the same files.
 */
#include "victim.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

enum { FIRST = 100, SECOND = 101, THIRD = 102, OWN = 110, GONE = 120, WATCHED = 130 };

static int set = 50, other = 51, child;

static void put(int fd, int at) {
  check(fd >= 0 && dup2(fd, at) == at);
  if (fd != at) close(fd);
}

static void add(int instance, int fd, unsigned long long data) {
  check(!epoll_ctl(instance, EPOLL_CTL_ADD, fd, &(struct epoll_event){EPOLLIN, {.u64 = data}}));
}

/* The watches as the kernel shows them, in no order: the sum of what each line says. */
static unsigned long long fingerprint(int instance) {
  char path[64], line[256];
  snprintf(path, sizeof path, "/proc/self/fdinfo/%d", instance);
  FILE *f = fopen(path, "r");
  check(f != NULL);
  unsigned long long sum = 0, data, number;
  unsigned events;
  while (fgets(line, sizeof line, f))
    if (sscanf(line, "tfd: %llu events: %x data: %llx", &number, &events, &data) == 3)
      sum += number * 1000003 + events * 101 + data * data * 7;
  fclose(f);
  return sum;
}

static unsigned long long seen[2];

static int ready(int instance) {
  struct epoll_event got[16];
  return epoll_wait(instance, got, 16, 0);
}

static void verify(void) {
  check(fingerprint(set) == seen[0], "%llu and not %llu", fingerprint(set), seen[0]);
  check(fingerprint(other) == seen[1], "%llu and not %llu", fingerprint(other), seen[1]);
  /* FIRST and SECOND were of one file, which only SECOND is now; FIRST is another one, which nobody watches. */
  check(ready(set) == 0 && ready(other) == 0);
  check(eventfd_write(SECOND, 1) == 0 && ready(set) == 2, "%d are ready", ready(set));
  eventfd_t value;
  check(eventfd_read(SECOND, &value) == 0 && eventfd_write(FIRST, 1) == 0 && ready(set) == 0);
  check(eventfd_read(FIRST, &value) == 0);
  check(fcntl(FIRST, F_GETFD) == 0 && fcntl(OWN, F_GETFD) == FD_CLOEXEC && fcntl(GONE, F_GETFD) == -1);
  check(eventfd_write(WATCHED, 1) == 0 && ready(set) == 2 && eventfd_read(WATCHED, &value) == 0);
  /* The pair of file and number is what MOD goes by. */
  check(epoll_ctl(set, EPOLL_CTL_MOD, SECOND, &(struct epoll_event){EPOLLIN, {.u64 = 2}}) == 0);
  check(epoll_ctl(set, EPOLL_CTL_MOD, FIRST, &(struct epoll_event){EPOLLIN, {.u64 = 1}}) == -1 && errno == ENOENT);
}

int main(void) {
  put(eventfd(0, EFD_NONBLOCK), FIRST);
  check(dup2(FIRST, SECOND) == SECOND);
  put(epoll_create1(0), set);
  put(epoll_create1(0), other);
  add(set, FIRST, 1);
  add(set, SECOND, 2);
  close(FIRST);
  put(eventfd(0, EFD_NONBLOCK), FIRST);
  /* Watched under a number that is the instance's own by now, and under one that is nobody's. */
  put(eventfd(0, EFD_NONBLOCK), WATCHED);
  check(dup2(WATCHED, OWN) == OWN && dup2(WATCHED, GONE) == GONE);
  add(set, OWN, 3);
  add(set, GONE, 4);
  close(GONE);
  check(dup3(set, OWN, O_CLOEXEC) == OWN);
  /* A child that has the instance as well, and the watched file under another number. */
  put(eventfd(0, EFD_NONBLOCK), THIRD);
  add(other, THIRD, 5);
  int pipes[2];
  check(!pipe(pipes));
  child = fork();
  check(child >= 0);
  if (child == 0) {
    char c;
    close(pipes[1]);
    check(dup2(THIRD, 140) == 140);
    close(THIRD);
    put(eventfd(0, EFD_NONBLOCK), THIRD);
    _exit(read(pipes[0], &c, 1) == 0 ? 0 : 1);
  }
  close(pipes[0]);
  check(dup2(THIRD, 141) == 141);
  close(THIRD);
  seen[0] = fingerprint(set);
  seen[1] = fingerprint(other);
  victim_nap(100);
  victim_ready();
  victim_watch(verify);
  int status;
  close(pipes[1]);
  check(waitpid(child, &status, 0) == child && status == 0);
  victim_pass();
}
