/*
 * What a random tree is made with: dice, the page all members write their reports to, and lists of what each one has.
 *
 * The page is a file, mapped shared by all and read by the test, so that a report needs no descriptor.
 */
#ifndef RANDOM_TREE_H
#define RANDOM_TREE_H
#include "victim.h"
#include <signal.h>
#include <stdatomic.h>

#define MEMBERS 32
#define REPORT (64 * 1024 - 16)

/* One member's part of the file. */
typedef struct {
  _Atomic int32_t pid;
  /* LATER as long as it is not all made; then the number of the latest report; a zombie's or stopped one's stays. */
  _Atomic int32_t done;
  /* 'r' runs, 'z' is to become a zombie, 's' is to stop, 0 is not there. */
  _Atomic int32_t kind;
  int32_t length;
  char text[REPORT];
} Slot;

/* The whole file. */
typedef struct {
  /* Which report is asked for; LAST: also tell which signals wait, and end. */
  _Atomic int32_t asked;
  int32_t members;
  /* One member looks at itself at a time: others may share its descriptors, and would see what it opens for that. */
  _Atomic int32_t looking;
  char padding[PAGE - 12];
  Slot slot[MEMBERS];
} Control;
#define LAST 1000000

static Control *control;
static int me;
static char home[200]; /* where files are made; the working directory may be another */

/* ---- dice: one stream for each member ---- */

static uint64_t dice_seed, dice_turn;

/* 0 … n-1 */
static int roll(int n) { return (known_word(dice_seed, dice_turn++) >> 9) % n; }
static bool chance(int percent) { return roll(100) < percent; }

/* ---- reports ---- */

__attribute__((format(printf, 1, 2))) static void tell(const char *format, ...) {
  Slot *slot = &control->slot[me];
  va_list args;
  va_start(args, format);
  int room = REPORT - slot->length;
  int length = vsnprintf(slot->text + slot->length, room, format, args);
  va_end(args);
  if (length >= room) fail("a report of member %d does not fit", me);
  slot->length += length;
}

static uint64_t hash(uint64_t sum, const void *at, size_t length) {
  const unsigned char *byte = at;
  for (size_t i = 0; i < length; i++) sum = (sum ^ byte[i]) * 0x100000001b3u;
  return sum;
}
#define HASH 0xcbf29ce484222325u

/* ---- what a member has; children inherit it ---- */

#define MAX_FDS 200
static int fds[MAX_FDS], fd_count;

/* A descriptor made, or -1 that could not be. */
static int keep(int fd) {
  if (fd >= 0 && fd_count < MAX_FDS) fds[fd_count++] = fd;
  return fd;
}

static bool open_fd(int fd) { return fcntl(fd, F_GETFD) >= 0; }

/* One of them that is still open, or -1. */
static int any_fd(void) {
  if (!fd_count) return -1;
  int fd = fds[roll(fd_count)];
  return open_fd(fd) ? fd : -1;
}

#define MAX_REGIONS 64
static struct {
  unsigned char *at;
  size_t length;
} regions[MAX_REGIONS];
static int region_count;

static void keep_region(void *at, size_t length) {
  if (at == MAP_FAILED || region_count == MAX_REGIONS) return;
  regions[region_count].at = at;
  regions[region_count++].length = length;
}

#define MAX_TIMERS 8
static timer_t timers[MAX_TIMERS];
static int timer_count;

/* Signals sent to ourselves that wait, as the last report is to tell them. */
#define MAX_PENDING 16
static struct {
  int number, code;
  long value;
} pending[MAX_PENDING];
static int pending_count;

/* A path in `home` that nobody else has; in a static buffer. */
static const char *fresh_path(const char *kind) {
  static char path[300];
  static int number;
  snprintf(path, sizeof path, "%s/%s-%d-%d", home, kind, me, number++);
  return path;
}
#endif
