/* Timers: the three of setitimer, and POSIX timers with gaps in their numbers, on many clocks, armed or not. */
#include "victim.h"
#include <signal.h>
#include <sys/time.h>
#include <time.h>

/* What is left of a timer goes down with the time that passes, and stands still while the process does not exist. */
typedef struct {
  int64_t left_us, at_ms;
} Left;

static void goes_down(const char *what, int number, Left *before, int64_t left_us, bool armed) {
  int64_t now = now_ms(CLOCK_BOOTTIME);
  if (before->at_ms && armed) {
    int64_t passed = (now - before->at_ms) * 1000 + 20000;
    check(left_us > 0 && left_us <= before->left_us + 5000 && left_us >= before->left_us - passed,
          "%s %d: %ld us left, %ld us before, %ld us ago", what, number, left_us, before->left_us, passed);
  }
  if (!armed) check(left_us == 0, "%s %d", what, number);
  *before = (Left){left_us, now};
}

static Left interval_left[3];
static const long interval_s[3] = {7, 0, 11};

static void verify_intervals(void) {
  for (int which = 0; which < 3; which++) {
    struct itimerval is;
    check(!getitimer(which, &is));
    check(is.it_interval.tv_sec == interval_s[which] && is.it_interval.tv_usec == (which ? 0 : 5));
    goes_down("itimer", which, &interval_left[which], is.it_value.tv_sec * 1000000ll + is.it_value.tv_usec, true);
  }
}

typedef struct {
  clockid_t clock;
  int notify, signal;
  long value_s, interval_s;
  int id;
  Left left;
} Timer;

static Timer timers[] = {
    {CLOCK_REALTIME, SIGEV_SIGNAL, 44, 3600, 0},
    {CLOCK_MONOTONIC, SIGEV_NONE, 0, 5000, 3},
    {CLOCK_BOOTTIME, 4 /* SIGEV_THREAD_ID */, 45, 6000, 60},
    {CLOCK_PROCESS_CPUTIME_ID, SIGEV_SIGNAL, SIGUSR1, 100, 1},
    {CLOCK_TAI, SIGEV_SIGNAL, SIGUSR2, 0, 0},
    {CLOCK_REALTIME_ALARM, SIGEV_SIGNAL, 46, 7000, 7},
    {CLOCK_MONOTONIC, SIGEV_THREAD, 47, 8000, 0},
};
#define COUNT (sizeof timers / sizeof *timers)

static int ticker;
static volatile long ticks, wrong;
static char shown[8192];

static void tick(int signal, siginfo_t *info, void *context) {
  (void)context;
  if (signal != 43 || info->si_code != SI_TIMER || info->si_value.sival_ptr != (void *)0x1234567890abull ||
      info->si_timerid != ticker)
    wrong++;
  ticks++;
}

static int create(clockid_t clock, int notify, int signal, void *value) {
  struct sigevent event;
  memset(&event, 0, sizeof event);
  event.sigev_notify = notify;
  event.sigev_signo = signal;
  event.sigev_value.sival_ptr = value;
  event._sigev_un._tid = getpid();
  int id = -1;
  long result = syscall(SYS_timer_create, clock, &event, &id);
  /* An alarm clock needs a battery-backed one. */
  if (result && errno == EOPNOTSUPP) result = syscall(SYS_timer_create, CLOCK_BOOTTIME, &event, &id);
  check(!result, "clock %d notify %d", clock, notify);
  return id;
}

static void set(int id, long value_s, long value_ns, long interval_s, long interval_ns) {
  struct itimerspec spec = {{interval_s, interval_ns}, {value_s, value_ns}};
  check(!syscall(SYS_timer_settime, id, 0, &spec, 0l));
}

static void verify(void) {
  verify_intervals();
  for (size_t i = 0; i < COUNT; i++) {
    struct itimerspec is;
    check(!syscall(SYS_timer_gettime, timers[i].id, &is), "timer %d", timers[i].id);
    check(is.it_interval.tv_sec == timers[i].interval_s && is.it_interval.tv_nsec == 0);
    goes_down("timer", timers[i].id, &timers[i].left, is.it_value.tv_sec * 1000000ll + is.it_value.tv_nsec / 1000,
              timers[i].value_s != 0);
  }
  static char now[sizeof shown];
  slurp("/proc/self/timers", now, sizeof now);
  /* Dumped in the middle of the reading: the rest came from a file that was opened anew. */
  if (strcmp(now, shown)) slurp("/proc/self/timers", now, sizeof now);
  check(!strcmp(now, shown), "/proc/self/timers is\n%s\nwas\n%s", now, shown);
  check(wrong == 0);
  long before = ticks;
  int64_t start = now_ms(CLOCK_MONOTONIC);
  while (ticks == before && now_ms(CLOCK_MONOTONIC) < start + 3000) victim_nap(1);
  check(ticks != before, "the timer of 10 ms does not tick");
  check(syscall(SYS_timer_gettime, 1l, (struct itimerspec[1]){0}) < 0 && errno == EINVAL, "timer 1 is there again");
}

int main(void) {
  struct sigaction act = {.sa_sigaction = tick, .sa_flags = SA_SIGINFO | SA_RESTART};
  check(!sigaction(43, &act, 0));
  for (int which = 0; which < 3; which++) {
    struct itimerval value = {{interval_s[which], which ? 0 : 5}, {3000 + which, 250000}};
    check(!setitimer(which, &value, 0));
  }
  /* Numbers with gaps: three go again after each that stays. */
  int passing = create(CLOCK_MONOTONIC, SIGEV_NONE, 0, 0);
  check(!syscall(SYS_timer_delete, passing));
  for (size_t i = 0; i < COUNT; i++) {
    for (int j = 0; j < 3; j++) {
      int gone = create(CLOCK_MONOTONIC, SIGEV_NONE, 0, 0);
      check(!syscall(SYS_timer_delete, gone));
    }
    timers[i].id = create(timers[i].clock, timers[i].notify, timers[i].signal, (void *)known_word(3, i));
    set(timers[i].id, timers[i].value_s, 0, timers[i].interval_s, 0);
  }
  ticker = create(CLOCK_MONOTONIC, SIGEV_SIGNAL, 43, (void *)0x1234567890abull);
  set(ticker, 0, 10000000, 0, 10000000);
  slurp("/proc/self/timers", shown, sizeof shown);
  victim_ready();
  victim_loop(verify);
}
