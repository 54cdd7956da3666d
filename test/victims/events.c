/* Descriptors that report events: eventfd, signalfd, timerfd, epoll, inotify, fanotify, pidfd; and owners of files. */
#include "victim.h"
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

#ifndef F_GETOWNER_UIDS
#define F_GETOWNER_UIDS 17
#endif
#define HUGE_COUNT 0xfffffffffffffff0ull

static int plain, semaphore, huge, signals, yearly, once, absolute, still, set, et, in, fan, self, owned, pair[2];
static int dup_target, old_number;
static int64_t began;

static uint64_t count_of(int fd) {
  char path[64], text[1024];
  snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
  slurp(path, text, sizeof text);
  char *at = strstr(text, "eventfd-count:");
  return at ? strtoull(at + 14, NULL, 16) : 0;
}

static bool has_line(int fd, const char *line) {
  char path[64], text[4096];
  snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
  slurp(path, text, sizeof text);
  return strstr(text, line) != NULL;
}

static bool readable_now(int fd) {
  struct pollfd p = {fd, POLLIN, 0};
  return poll(&p, 1, 0) == 1 && (p.revents & POLLIN);
}

static void verify_counters(void) {
  check(count_of(plain) == 7 && count_of(semaphore) == 3 && count_of(huge) == HUGE_COUNT);
  check(fcntl(plain, F_GETFL) & O_NONBLOCK);
  uint64_t one = 0;
  check(read(semaphore, &one, 8) == 8);
  check(one == 1, "a semaphore gives one at a time, this one %lu", one);
  check(write(semaphore, &one, 8) == 8);
}

static void verify_timers(void) {
  struct itimerspec t;
  check(!timerfd_gettime(yearly, &t));
  int64_t left = t.it_value.tv_sec * 1000ll + t.it_value.tv_nsec / 1000000;
  check(left > 0 && left <= 31536000000ll && t.it_interval.tv_sec == 86400, "left %ld", left);
  check(31536000000ll - left <= now_ms(CLOCK_MONOTONIC) - began + 50);
  check(!timerfd_gettime(absolute, &t) && t.it_value.tv_sec > 3000 && t.it_value.tv_sec < 7300 && !t.it_interval.tv_sec);
  check(has_line(absolute, "settime flags: 01"));
  check(!timerfd_gettime(still, &t) && t.it_value.tv_sec == 0 && t.it_value.tv_nsec == 0);
  check(has_line(once, "ticks: 1\n") && readable_now(once) && !readable_now(yearly));
}

static void verify_epoll(void) {
  struct epoll_event got[8];
  int n = epoll_wait(set, got, 8, 0);
  check(n == 3, "%d events", n); /* plain, the old number's, and et within; et itself fires once */
  unsigned seen = 0;
  for (int i = 0; i < n; i++) seen |= 1u << (got[i].data.u64 & 31);
  check(seen == (1u << 1 | 1u << 3 | 1u << 4), "seen %x", seen);
  check(epoll_ctl(set, EPOLL_CTL_MOD, plain, &(struct epoll_event){EPOLLIN, {.u64 = 0xabcd00000001}}) == 0);
  check(epoll_ctl(et, EPOLL_CTL_ADD, plain, &(struct epoll_event){EPOLLIN, {0}}) < 0 && errno == EEXIST);
}

static void verify_watches(void) {
  char buffer[1024];
  check(read(in, buffer, sizeof buffer) < 0 && errno == EAGAIN, "nothing happened in the directory");
  close(open("watched/new", O_CREAT | O_RDWR, 0600));
  unlink("watched/new");
  ssize_t n = read(in, buffer, sizeof buffer);
  check(n > 0);
  struct inotify_event *event = (struct inotify_event *)buffer;
  check(event->wd == 3 && (event->mask & IN_CREATE) && !strcmp(event->name, "new"), "wd %d", event->wd);
  if (fan < 0) return;
  check(read(fan, buffer, sizeof buffer) < 0 && errno == EAGAIN);
  close(open("watched/file", O_RDONLY));
  check((n = read(fan, buffer, sizeof buffer)) > 0);
  struct fanotify_event_metadata *meta = (struct fanotify_event_metadata *)buffer;
  check((meta->mask & FAN_OPEN) && meta->pid == getpid());
  close(meta->fd);
}

static void verify_signals(void) {
  struct signalfd_siginfo info;
  check(read(signals, &info, sizeof info) < 0 && errno == EAGAIN);
  check(!kill(getpid(), SIGUSR2) && read(signals, &info, sizeof info) == sizeof info && info.ssi_signo == SIGUSR2);
  check(!has_line(signals, "sigmask:\t0000000000000000"));
}

static void verify_owner(void) {
  struct f_owner_ex owner = {0};
  check(!fcntl(owned, F_GETOWN_EX, &owner) && owner.type == F_OWNER_PGRP && owner.pid == getpgrp());
  check(fcntl(owned, F_GETSIG) == SIGUSR1 && (fcntl(owned, F_GETFL) & O_ASYNC));
  uid_t ids[2] = {9, 9};
  check(!fcntl(owned, F_GETOWNER_UIDS, ids) && ids[0] == 12345 && ids[1] == 0);
  check(write(pair[1], "x", 1) == 1);
  siginfo_t info;
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, SIGUSR1);
  check(sigtimedwait(&only, &info, &(struct timespec){1, 0}) == SIGUSR1 && info.si_fd == owned);
  char byte;
  check(read(owned, &byte, 1) == 1);
}

static void verify(void) {
  verify_counters();
  verify_timers();
  verify_epoll();
  verify_watches();
  verify_signals();
  verify_owner();
  check(syscall(SYS_pidfd_send_signal, self, 0, NULL, 0) == 0);
  char text[512], want[64];
  snprintf(want, sizeof want, "Pid:\t%d\n", getpid());
  snprintf(text, sizeof text, "/proc/self/fdinfo/%d", self);
  check(has_line(self, want));
}

static void set_up_timers(void) {
  began = now_ms(CLOCK_MONOTONIC);
  yearly = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  check(!timerfd_settime(yearly, 0, &(struct itimerspec){{86400, 0}, {31536000, 0}}, NULL));
  once = timerfd_create(CLOCK_BOOTTIME, 0);
  check(!timerfd_settime(once, 0, &(struct itimerspec){{0, 0}, {0, 1}}, NULL));
  absolute = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC);
  struct itimerspec then = {{0, 0}, {time(NULL) + 7200, 5}};
  check(!timerfd_settime(absolute, TFD_TIMER_ABSTIME, &then, NULL));
  still = timerfd_create(CLOCK_MONOTONIC, 0);
  while (!readable_now(once)) victim_nap(1);
}

static void set_up_epoll(void) {
  set = epoll_create1(EPOLL_CLOEXEC);
  et = epoll_create1(0);
  int numbered = eventfd(1, 0);
  old_number = numbered;
  check(!epoll_ctl(set, EPOLL_CTL_ADD, plain, &(struct epoll_event){EPOLLIN, {.u64 = 0xabcd00000001}}));
  check(!epoll_ctl(set, EPOLL_CTL_ADD, yearly, &(struct epoll_event){EPOLLIN, {.u64 = 2}}));
  check(!epoll_ctl(set, EPOLL_CTL_ADD, numbered, &(struct epoll_event){EPOLLIN, {.u64 = 3}}));
  check(!epoll_ctl(et, EPOLL_CTL_ADD, plain, &(struct epoll_event){EPOLLIN, {.u64 = 9}}));
  check(!epoll_ctl(set, EPOLL_CTL_ADD, et, &(struct epoll_event){EPOLLIN, {.u64 = 4}}));
  dup_target = fcntl(numbered, F_DUPFD, 60);
  close(numbered); /* the target lives on under another number */
}

static void set_up_watches(void) {
  mkdir("watched", 0755);
  mkdir("other", 0755);
  close(open("watched/file", O_CREAT | O_RDWR, 0600));
  in = inotify_init1(IN_NONBLOCK);
  int first = inotify_add_watch(in, "other", IN_ALL_EVENTS);
  check(inotify_add_watch(in, ".", IN_ATTRIB) == 2 && inotify_add_watch(in, "watched", IN_CREATE) == 3);
  check(!inotify_rm_watch(in, first));
  char buffer[256];
  check(read(in, buffer, sizeof buffer) > 0); /* IN_IGNORED */
  fan = fanotify_init(FAN_CLASS_NOTIF | FAN_NONBLOCK, O_RDONLY);
  if (fan >= 0) check(!fanotify_mark(fan, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, "watched/file"));
}

int main(void) {
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  sigaddset(&blocked, SIGUSR2);
  check(!sigprocmask(SIG_BLOCK, &blocked, NULL));
  sigdelset(&blocked, SIGUSR1);
  plain = eventfd(7, EFD_NONBLOCK);
  semaphore = eventfd(3, EFD_SEMAPHORE);
  huge = eventfd(0, 0);
  check(write(huge, &(uint64_t){HUGE_COUNT}, 8) == 8);
  signals = signalfd(-1, &blocked, SFD_NONBLOCK | SFD_CLOEXEC);
  set_up_timers();
  set_up_epoll();
  set_up_watches();
  self = syscall(SYS_pidfd_open, getpid(), 0);
  check(!pipe(pair));
  owned = pair[0];
  struct f_owner_ex owner = {F_OWNER_PGRP, getpgrp()};
  /* Who asked to be signalled is remembered with the request. */
  check(!setresuid(12345, -1, -1) && !fcntl(owned, F_SETOWN_EX, &owner) && !setresuid(0, 0, -1));
  check(!fcntl(owned, F_SETSIG, SIGUSR1) && !fcntl(owned, F_SETFL, O_ASYNC));
  victim_ready();
  victim_wait(); /* looking changes what others see of us */
  verify();
  victim_pass();
}
