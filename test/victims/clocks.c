/*
 * The clocks that count from the boot: they go on where they were, whatever became of the machine meanwhile; and timers
 * set to a moment on them, which comes when the clock says so.
 */
#include "victim.h"
#include <poll.h>
#include <sys/sysinfo.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#define DEADLINE_MS 3000
/* A busy machine may be late; what is set to a moment is never early. */
#define LATE_MS 400
#define SLACK_MS 60

static const clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_MONOTONIC_RAW, CLOCK_MONOTONIC_COARSE};
#define CLOCKS (int)(sizeof clocks / sizeof *clocks)
static int64_t last[CLOCKS], began[2], real_began, deadline[2];
/* When each timer was first seen to have fired, and last seen not to: on a busy machine nobody looks for a while. */
static int64_t fired[4], waited[4];
static int descriptor[2], timer[2];

static int64_t now_ns(clockid_t clock, bool by_call) {
  struct timespec t;
  check(!(by_call ? syscall(SYS_clock_gettime, (long)clock, &t) : clock_gettime(clock, &t)));
  return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static void go_on(void) {
  for (int i = 0; i < CLOCKS; i++) {
    /* The vdso's answer and the kernel's are the same. */
    int64_t before = now_ns(clocks[i], false), between = now_ns(clocks[i], true), after = now_ns(clocks[i], false);
    check(before >= last[i] && between >= before && after >= between, "clock %d: %ld, then %ld, %ld, %ld",
          (int)clocks[i], (long)last[i], (long)before, (long)between, (long)after);
    last[i] = after;
  }
}

static void same_everywhere(void) {
  struct sysinfo info;
  char text[64];
  double uptime = 0;
  check(!sysinfo(&info));
  slurp("/proc/uptime", text, sizeof text);
  sscanf(text, "%lf", &uptime);
  int64_t here = now_ms(CLOCK_BOOTTIME);
  check(here / 1000 - info.uptime <= 2 && info.uptime - here / 1000 <= 2, "%ld, sysinfo %ld", here, info.uptime);
  check(here / 1000 - (long)uptime <= 2 && (long)uptime - here / 1000 <= 2, "%ld, uptime %f", here, uptime);
}

static void look_at_timers(void) {
  for (int i = 0; i < 2; i++) {
    struct pollfd p = {descriptor[i], POLLIN, 0};
    struct itimerspec is;
    int64_t before = now_ms(clocks[i]);
    bool has_fired[2] = {poll(&p, 1, 0) == 1};
    check(!syscall(SYS_timer_gettime, (long)timer[i], &is));
    has_fired[1] = !is.it_value.tv_sec && !is.it_value.tv_nsec;
    for (int j = i; j < 4; j += 2) {
      if (!has_fired[j / 2]) waited[j] = before;
      else if (!fired[j]) fired[j] = now_ms(clocks[i]);
    }
  }
}

static void verify(void) {
  go_on();
  look_at_timers();
}

static void set_timers(void) {
  for (int i = 0; i < 2; i++) {
    deadline[i] = now_ms(clocks[i]) + DEADLINE_MS;
    struct itimerspec then = {.it_value = {deadline[i] / 1000, deadline[i] % 1000 * 1000000}};
    descriptor[i] = timerfd_create(clocks[i], TFD_CLOEXEC);
    check(descriptor[i] >= 0 && !timerfd_settime(descriptor[i], TFD_TIMER_ABSTIME, &then, 0));
    struct {
      void *value;
      int signo, notify, rest[12];
    } none = {0, 0, 1 /* SIGEV_NONE */, {0}};
    check(!syscall(SYS_timer_create, (long)clocks[i], &none, &timer[i]));
    check(!syscall(SYS_timer_settime, (long)timer[i], (long)TIMER_ABSTIME, &then, 0l));
  }
}

static void children_see_the_same(void) {
  pid_t child = fork();
  if (child == 0) {
    go_on();
    _exit(0);
  }
  int status;
  check(waitpid(child, &status, 0) == child && status == 0);
}

int main(void) {
  if (access("/proc/self/timens_offsets", F_OK)) skip("no time namespaces");
  set_timers();
  real_began = now_ms(CLOCK_REALTIME);
  for (int i = 0; i < 2; i++) began[i] = now_ms(clocks[i]);
  victim_ready();
  while (!victim_asked()) {
    verify();
    victim_nap(5);
  }
  same_everywhere();
  children_see_the_same();
  for (int i = 0; i < 2; i++) {
    /* All time has passed for us but that in which we were not there. */
    int64_t missed = (now_ms(CLOCK_REALTIME) - real_began) - (now_ms(clocks[i]) - began[i]);
    check(missed >= victim_gone.lo - SLACK_MS && missed <= victim_gone.hi + SLACK_MS,
          "clock %d missed %ld ms, gone were %ld to %ld", i, (long)missed, victim_gone.lo, victim_gone.hi);
  }
  int64_t late = LATE_MS + victim_gone.hi - victim_gone.lo;
  do {
    verify();
    victim_nap(5);
  } while (now_ms(CLOCK_MONOTONIC) < deadline[0] + late);
  for (int i = 0; i < 4; i++)
    check(fired[i] >= deadline[i % 2] && waited[i] <= deadline[i % 2] + late, "timer %d fired at %ld (not at %ld), not at %ld",
          i, (long)fired[i], (long)waited[i], (long)deadline[i % 2]);
  victim_pass();
}
