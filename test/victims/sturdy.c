/*
 * A bit of everything, checked all the time, for tests in which Stasis itself comes to harm: a block of memory, a timer
 * of each kind, descriptors and positions, signal mask and actions, floating point, calls that are nearly always
 * interrupted.
 *
 * The file "progress" holds the count of its turns, 8 bytes, so that others see that it goes on.
 *
 *     sturdy [MEBIBYTES]
 */
#include "victim.h"
#include <signal.h>
#include <sys/time.h>

static uint64_t *block;
static size_t words, next_word;
static int progress, data;
static volatile uint64_t beats, ticks, turns;
static timer_t timer;
static sigset_t mask;
static struct sigaction actions[65];
static double series;

static void on_alarm(int signal) {
  (void)signal;
  beats++;
}

static void on_tick(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)context;
  if (info->si_code == SI_TIMER && info->si_value.sival_int == 4242) ticks++;
}

/* A sixteenth of the block at each turn. */
static void verify_memory(void) {
  for (size_t n = words / 16; n; n--, next_word = (next_word + 1) % words)
    check(block[next_word] == known_word(9, next_word), "word %zu", next_word);
}

static void verify_signals(void) {
  sigset_t now;
  check(!sigprocmask(SIG_BLOCK, 0, &now));
  for (int s = 1; s <= 64; s++) {
    check(sigismember(&now, s) == sigismember(&mask, s), "signal %d in the mask", s);
    if (s == 32 || s == 33) continue;
    struct sigaction action;
    check(!sigaction(s, 0, &action) && action.sa_handler == actions[s].sa_handler &&
              action.sa_flags == actions[s].sa_flags && !memcmp(&action.sa_mask, &actions[s].sa_mask, 8),
          "action of signal %d", s);
  }
  sigset_t pending;
  check(!sigpending(&pending) && sigismember(&pending, SIGRTMIN + 5) == 1, "the blocked signal is pending no more");
}

static void verify_timers(void) {
  struct itimerval interval;
  check(!getitimer(ITIMER_REAL, &interval) && interval.it_interval.tv_usec == 7000);
  struct itimerspec spec;
  check(!timer_gettime(timer, &spec) && spec.it_interval.tv_nsec == 5000000 &&
        (spec.it_value.tv_sec || spec.it_value.tv_nsec));
}

static void verify_files(void) {
  check(lseek(data, 0, SEEK_CUR) == 4097 && fcntl(data, F_GETFD) == FD_CLOEXEC);
  uint64_t word;
  check(pread(data, &word, 8, 800) == 8 && word == known_word(11, 100));
}

/* Leibniz' series: a wrong bit in any register shows in the end. */
static void verify_arithmetic(void) {
  double sum = 0;
  for (int i = 0; i < 20000; i++) sum += (i & 1 ? -4.0 : 4.0) / (2 * i + 1);
  if (series == 0) series = sum;
  check(sum == series, "%.17g, not %.17g", sum, series);
}

static void verify(void) {
  verify_memory();
  verify_signals();
  verify_timers();
  verify_files();
  verify_arithmetic();
  uint64_t count = ++turns;
  check(pwrite(progress, &count, 8, 0) == 8);
}

int main(int argc, char **argv) {
  words = (argc > 1 ? strtoul(argv[1], 0, 10) : 8) << 17;
  block = mmap(0, words * 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  check(block != MAP_FAILED);
  fill_known(block, words * 8, 9);
  progress = open("progress", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  data = open("data", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  static uint64_t page[1024];
  fill_known(page, sizeof page, 11);
  check(write(data, page, sizeof page) == sizeof page && lseek(data, 4097, SEEK_SET) == 4097);

  struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, 0);
  action = (struct sigaction){.sa_sigaction = on_tick, .sa_flags = SA_SIGINFO};
  sigaddset(&action.sa_mask, SIGALRM);
  sigaction(SIGRTMIN, &action, 0);
  signal(SIGWINCH, SIG_IGN);
  signal(SIGSTKFLT, SIG_IGN);
  sigemptyset(&mask);
  sigaddset(&mask, SIGURG);
  sigaddset(&mask, SIGPWR);
  sigaddset(&mask, SIGTRAP);
  sigaddset(&mask, SIGRTMIN + 5);
  sigprocmask(SIG_SETMASK, &mask, 0);
  sigqueue(getpid(), SIGRTMIN + 5, (union sigval){.sival_int = 99});
  for (int s = 1; s <= 64; s++) sigaction(s, 0, &actions[s]);

  struct itimerval often = {{0, 7000}, {0, 7000}};
  check(!setitimer(ITIMER_REAL, &often, 0));
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value.sival_int = 4242};
  check(!timer_create(CLOCK_MONOTONIC, &event, &timer));
  struct itimerspec spec = {{0, 5000000}, {0, 5000000}};
  check(!timer_settime(timer, 0, &spec, 0));

  verify();
  victim_ready();
  while (!victim_asked()) {
    verify();
    struct timespec t = {0, 3000000};
    nanosleep(&t, 0); /* ends early at each beat */
  }
  for (int i = 0; i < 16; i++) verify();
  /* The timers fire still. */
  uint64_t beats_before = beats, ticks_before = ticks;
  victim_nap(200);
  check(beats > beats_before + 5 && ticks > ticks_before + 5, "%lu beats, %lu ticks", beats - beats_before,
        ticks - ticks_before);
  int signal;
  sigset_t one;
  siginfo_t info;
  sigemptyset(&one);
  sigaddset(&one, SIGRTMIN + 5);
  struct timespec none = {0, 0};
  signal = sigtimedwait(&one, &info, &none);
  check(signal == SIGRTMIN + 5 && info.si_code == SI_QUEUE && info.si_value.sival_int == 99, "the pending signal: %d",
        signal);
  check(sigtimedwait(&one, &info, &none) == -1, "it came twice");
  victim_pass();
}
