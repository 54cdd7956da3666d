/*
 * Interrupted system calls: asleep NAME [MILLISECONDS] sits in one while it is dumped, and looks at how it ended.
 *
 * The time of one with a timeout stands still while the task does not exist, and so does CLOCK_MONOTONIC: what has
 * passed is the timeout, whether it was given as a length of time or as a moment. One without a limit must not end by
 * itself.
 */
#include "victim.h"
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/select.h>
#include <sys/sem.h>

/* How long the timed calls sleep unless the test says so, and how far off the wake-up may be on a busy machine. */
static int64_t sleep_ms = 1500;
#define EARLY_MS 20
#define LATE_MS 400

static struct timespec sleep_time;
static volatile sig_atomic_t caught;
static char mask_in_handler[64];

static void on_signal(int signal) {
  (void)signal;
  caught++;
  snprintf(mask_in_handler, sizeof mask_in_handler, "%s", status_line("SigBlk:"));
}

/*
 * A timed call has ended: was it at the right moment? Dumping and restoring take some time in which the task does
 * exist.
 */
static void timed(int64_t began) {
  int64_t took = now_ms(CLOCK_MONOTONIC) - began;
  victim_wait();
  int64_t lo = sleep_ms, hi = sleep_ms + victim_gone.hi - victim_gone.lo;
  check(took >= lo - EARLY_MS, "took %ld ms, at least %ld expected", (long)took, (long)lo);
  check(took <= hi + LATE_MS, "took %ld ms, at most %ld expected", (long)took, (long)hi);
  victim_pass();
}

/* An untimed call has ended: only the signal that comes with the question may have done that. */
static void woken(const char *mask_before) {
  check(caught == 1, "%d signals caught", (int)caught);
  victim_wait();
  check(!strcmp(status_line("SigBlk:"), mask_before), "mask is %s", status_line("SigBlk:"));
  victim_pass();
}

int main(int argc, char **argv) {
  const char *name = argc > 1 ? argv[1] : "nanosleep";
  static char mask_before[64];
  if (argc > 2) sleep_ms = atoi(argv[2]);
  sleep_time = (struct timespec){sleep_ms / 1000, sleep_ms % 1000 * 1000000};
  struct timespec left = {7, 7};
  static uint32_t word = 3;
  int64_t began;

  signal(SIGUSR2, SIG_IGN);
  struct sigaction action = {.sa_handler = on_signal};
  sigaction(SIGUSR1, &action, 0);
  sigset_t block, suspended;
  sigemptyset(&block);
  sigaddset(&block, SIGURG);
  sigaddset(&block, SIGRTMIN + 3);
  sigprocmask(SIG_BLOCK, &block, 0);
  sigemptyset(&suspended);
  sigaddset(&suspended, SIGWINCH);
  snprintf(mask_before, sizeof mask_before, "%s", status_line("SigBlk:"));

#define IS(what) (!strcmp(name, what))
  victim_ready();
  began = now_ms(CLOCK_MONOTONIC);
  errno = 0;
  if (IS("nanosleep")) {
    /* glibc's nanosleep() is clock_nanosleep(). */
    check(syscall(SYS_nanosleep, &sleep_time, &left) == 0, "rest %ld.%09ld", (long)left.tv_sec, left.tv_nsec);
    timed(began);
  } else if (IS("nanosleep-without-rest")) {
    check(syscall(SYS_nanosleep, &sleep_time, 0) == 0);
    timed(began);
  } else if (IS("clock_nanosleep-without-rest")) {
    check(clock_nanosleep(CLOCK_BOOTTIME, 0, &sleep_time, 0) == 0);
    timed(began);
  } else if (IS("clock_nanosleep")) {
    check(clock_nanosleep(CLOCK_BOOTTIME, 0, &sleep_time, &left) == 0);
    timed(began);
  } else if (IS("clock_nanosleep-realtime")) {
    check(clock_nanosleep(CLOCK_REALTIME, 0, &sleep_time, &left) == 0);
    timed(began);
  } else if (IS("clock_nanosleep-absolute")) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += sleep_time.tv_nsec;
    until.tv_sec += sleep_time.tv_sec + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    check(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, 0) == 0);
    timed(began);
  } else if (IS("poll")) {
    check(poll(0, 0, sleep_ms) == 0);
    timed(began);
  } else if (IS("ppoll")) {
    check(ppoll(0, 0, &sleep_time, &suspended) == 0);
    timed(began);
  } else if (IS("select")) {
    struct timeval t = {sleep_ms / 1000, sleep_ms % 1000 * 1000};
    check(select(0, 0, 0, 0, &t) == 0);
    timed(began);
  } else if (IS("pselect")) {
    check(pselect(0, 0, 0, 0, &sleep_time, &suspended) == 0);
    timed(began);
  } else if (IS("futex")) {
    check(syscall(SYS_futex, &word, FUTEX_WAIT, 3, &sleep_time, 0, 0) == -1 && errno == ETIMEDOUT);
    timed(began);
  } else if (IS("futex-private")) {
    check(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 3, &sleep_time, 0, 0) == -1 && errno == ETIMEDOUT);
    timed(began);
  } else if (IS("futex-absolute")) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += sleep_time.tv_nsec;
    until.tv_sec += sleep_time.tv_sec + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    check(syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 3, &until, 0, FUTEX_BITSET_MATCH_ANY) == -1 &&
          errno == ETIMEDOUT);
    timed(began);
  } else if (IS("futex-forever")) {
    check(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 3, 0, 0, 0) == -1 && errno == EINTR);
    woken(mask_before);
  } else if (IS("poll-forever")) {
    check(poll(0, 0, -1) == -1 && errno == EINTR);
    woken(mask_before);
  } else if (IS("pause")) {
    check(pause() == -1 && errno == EINTR);
    woken(mask_before);
  } else if (IS("sigsuspend")) {
    check(sigsuspend(&suspended) == -1 && errno == EINTR);
    /* Signals 10 (in its handler) and 28 (asked for) were blocked; 23 and SIGRTMIN+3 were not. */
    check(!strcmp(mask_in_handler, "0000000008000200"), "mask in the handler is %s", mask_in_handler);
    woken(mask_before);
  } else if (IS("ppoll-forever")) {
    check(ppoll(0, 0, 0, &suspended) == -1 && errno == EINTR);
    check(!strcmp(mask_in_handler, "0000000008000200"), "mask in the handler is %s", mask_in_handler);
    woken(mask_before);
  } else if (IS("epoll-forever")) {
    struct epoll_event event;
    check(epoll_wait(epoll_create1(EPOLL_CLOEXEC), &event, 1, -1) == -1 && errno == EINTR);
    woken(mask_before);
  } else if (IS("epoll-pwait-forever")) {
    struct epoll_event event;
    check(epoll_pwait(epoll_create1(EPOLL_CLOEXEC), &event, 1, -1, &suspended) == -1 && errno == EINTR);
    check(!strcmp(mask_in_handler, "0000000008000200"), "mask in the handler is %s", mask_in_handler);
    woken(mask_before);
  } else if (IS("semop-forever")) {
    struct sembuf take = {0, -1, 0};
    int set = semget(IPC_PRIVATE, 1, 0600);
    long result = semop(set, &take, 1);
    int why = errno;
    check(set >= 0 && !semctl(set, 0, IPC_RMID));
    check(result == -1 && why == EINTR);
    woken(mask_before);
  } else if (IS("sigwait-forever")) {
    check(sigwaitinfo(&suspended, 0) == -1 && errno == EINTR);
    woken(mask_before);
  } else {
    fail("asleep: %s?", name);
  }
}
