/*
 * A tree of processes that dice have made: who is whose child, in which session and group, and what each one has. All
 * from one number, so that what was found can be made again.
 *
 *     random-tree SEED
 *
 * Whenever the test asks, each member writes what it sees of itself into its part of the file "control". Zombies and
 * stopped ones are seen from outside only.
 */
#include "random-tree.h"
#include "random-tree-files.h"
#include "random-tree-report.h"
#include "random-tree-state.h"
#include <sys/wait.h>

static const struct {
  void (*act)(void);
  int weight;
} acts[] = {
    {do_file, 10},   {do_directory, 4}, {do_pipe, 8},    {do_half_pipe, 1}, {do_fifo, 3},    {do_sockets, 6}, {do_eventfd, 4},
    {do_timerfd, 4}, {do_signalfd, 3},  {do_epoll, 6},   {do_inotify, 3},   {do_memfd, 4},   {do_pidfd, 3},   {do_device, 3},
    {do_lock, 8},    {do_lease, 1},     {do_owner, 2},   {do_pty, 3},       {do_dup, 6},     {do_close, 5},   {do_memory, 14},
    {do_change, 8},  {do_file_memory, 6}, {do_segment, 2}, {do_action, 8},  {do_mask, 5},    {do_pending, 5}, {do_altstack, 2},
    {do_itimer, 3},  {do_timer, 4},     {do_limit, 4},   {do_setting, 14},  {do_seccomp, 1}, {do_threads, 4},
};
#define ACTS (int)(sizeof acts / sizeof *acts)

static void act(void) {
  int sum = 0;
  for (int i = 0; i < ACTS; i++) sum += acts[i].weight;
  int dice = roll(sum);
  for (int i = 0; i < ACTS; i++)
    if ((dice -= acts[i].weight) < 0) return acts[i].act();
}

static uint64_t seed;
static int parent_of(int i) { return known_word(seed + 1, i) % i; }
static char kind_of(int i) {
  for (int k = i + 1; k < control->members; k++)
    if (parent_of(k) == i) return 'r';
  int dice = known_word(seed + 2, i) % 10;
  return i == 0 || dice > 2 ? 'r' : dice == 0 ? 's' : 'z';
}

/* A place of its own among sessions and groups, perhaps. */
static void take_place(void) {
  switch (roll(6)) {
    case 0: setsid(); break;
    case 1: setpgid(0, 0); break;
    case 2: setpgid(0, control->slot[roll(control->members)].pid); break;
  }
}

static void end(void) {
  switch (roll(3)) {
    case 0: _exit(roll(256));
    case 1: signal(SIGTERM, SIG_DFL); kill(getpid(), SIGKILL); break;
    default: _exit(0);
  }
}

static void live(void) {
  Slot *slot = &control->slot[me];
  atomic_store(&slot->done, 1);
  if (slot->kind == 'z') end();
  if (me == 0) victim_ready();
  /* A group that loses its last tie to its session would be woken: all are to be born before anybody stops. */
  while (!control->asked) victim_nap(2);
  if (slot->kind == 's') {
    kill(getpid(), SIGSTOP);
    for (;;) pause();
  }
  for (int asked;; victim_nap(3)) {
    asked = control->asked;
    if (asked == LAST) break;
    if (asked > slot->done) report(asked);
  }
  report_last();
  for (;;) pause();
}

static void be(int member);

/* A child. It may share more than usual; or lose its parent, a process between that ends. */
static void have_child(int member) {
  static const int shared[] = {0, 0, 0, 0, 0, 0, 0, 0x400 /* CLONE_FILES */, 0x200 /* CLONE_FS */};
  int flags = shared[roll(9)];
  bool orphan = chance(15);
  pid_t between = orphan ? fork() : 0;
  if (between > 0) {
    waitpid(between, 0, 0);
  } else {
    if (orphan) take_place();
    pid_t maker = getpid();
    pid_t pid = flags ? syscall(SYS_clone, flags | SIGCHLD, 0l, 0l, 0l, 0l) : fork();
    if (pid < 0) fail("fork: %s", strerrorname_np(errno));
    if (pid == 0) {
      /* It is nobody's orphan yet: a parent death signal it sets now would be its end. */
      while (orphan && getppid() == maker) victim_nap(1);
      be(member);
    }
    if (orphan) _exit(0);
  }
  while (!control->slot[member].done) victim_nap(1);
}

/* Makes a member what it is to be, with its children in between. */
static void be(int member) {
  me = member;
  dice_seed = seed * 1000 + member;
  dice_turn = 0;
  timer_count = 0;
  pending_count = 0;
  Slot *slot = &control->slot[me];
  slot->pid = getpid();
  slot->kind = kind_of(me);
  int place = roll(4), turn = 0;
  for (int next = me + 1; next <= control->members; next++) {
    bool last = next == control->members;
    if (!last && parent_of(next) != me) continue;
    for (int i = roll(9); i > 0; i--) act();
    if (turn++ == place || last) take_place();
    if (!last) have_child(next);
  }
  live();
}

int main(int argc, char **argv) {
  seed = argc > 1 ? atol(argv[1]) : 1;
  check(getcwd(home, sizeof home) && !chmod(home, 0777));
  int fd = open("control", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  check(fd >= 0 && !ftruncate(fd, sizeof(Control)));
  control = mmap(0, sizeof(Control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  check(control != MAP_FAILED && !close(fd));
  control->members = 2 + known_word(seed, 0) % (known_word(seed, 1) % 4 ? 10 : MEMBERS - 2);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  be(0);
}
