/*
 * The kit of a victim: a small program that holds a piece of kernel state and checks it against itself, across a
 * dump and a restore it knows nothing of.
 *
 * A victim talks through the files it is started with, so that it needs nothing of its own to be told anything:
 *
 *   stdin   a regular file, empty; a line appended to it asks for the verdict ("ask LO HI": see victim_gone)
 *   stdout  a regular file, opened O_APPEND; takes "READY PID", then "PASS" or "FAIL: reason"
 *   cwd     a directory of its own, for files it makes
 *
 * By hand:  touch ask; ./victim <ask >>out &  …  echo ask >>ask; cat out
 *
 * Nothing here allocates memory, opens a descriptor that stays, or installs a signal handler.
 *
 *     int main(void) {
 *       set_up();
 *       victim_ready();
 *       victim_loop(verify);   // verify() every few milliseconds until asked, once more, then PASS
 *     }
 */
#ifndef VICTIM_H
#define VICTIM_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

/* Where the question comes in and the verdict goes out; a victim that moves them says so here. */
__attribute__((unused)) static int victim_ask_fd = 0;
__attribute__((unused)) static int victim_out_fd = 1;

#define PAGE ((size_t)4096)

/* One line to stdout, in one write. */
__attribute__((unused, format(printf, 1, 2))) static void victim_say(const char *format, ...) {
  char line[1024];
  va_list args;
  va_start(args, format);
  int length = vsnprintf(line, sizeof line - 1, format, args);
  va_end(args);
  if (length < 0) length = 0;
  if (length > (int)sizeof line - 2) length = sizeof line - 2;
  line[length] = '\n';
  if (write(victim_out_fd, line, length + 1) != length + 1) _exit(2);
}

/* The verdict is FAIL: ends the victim. */
#define fail(...)                                                     \
  do {                                                                \
    char why_[700];                                                   \
    snprintf(why_, sizeof why_, __VA_ARGS__);                         \
    victim_say("FAIL: %s:%d: %s", __FILE_NAME__, __LINE__, why_);     \
    _exit(1);                                                         \
  } while (0)
#ifndef __FILE_NAME__
#define __FILE_NAME__ __FILE__
#endif

/* check(condition) or check(condition, "format", …): what must hold. errno is reported when it is set. */
#define check(condition, ...)                                                                   \
  do {                                                                                          \
    errno = 0;                                                                                  \
    if (!(condition)) {                                                                         \
      int errno_ = errno;                                                                       \
      char more_[300] = "";                                                                     \
      snprintf(more_, sizeof more_, " " __VA_ARGS__);                                           \
      if (errno_) fail("%s [%s]%s", #condition, strerrorname_np(errno_), more_);                \
      fail("%s%s", #condition, more_);                                                          \
    }                                                                                           \
  } while (0)

/* Says that all is set up. From here on the victim may be dumped at any moment. */
__attribute__((unused)) static void victim_ready(void) { victim_say("READY %d", (int)getpid()); }

/* The machine cannot do what this victim is about: neither pass nor fail. */
#define skip(...)                       \
  do {                                  \
    char why_[300];                     \
    snprintf(why_, sizeof why_, __VA_ARGS__); \
    victim_say("SKIP: %s", why_);       \
    _exit(0);                           \
  } while (0)

/* What the question says: between LO and HI milliseconds the victim did not exist (0 0 if it was not told). */
typedef struct {
  long lo, hi;
} Gone;
__attribute__((unused)) static Gone victim_gone;

/* Whether the verdict has been asked for. The file position of stdin is not touched. */
__attribute__((unused)) static bool victim_asked(void) {
  char line[64];
  ssize_t n = pread(victim_ask_fd, line, sizeof line - 1, 0);
  if (n <= 0) return false;
  line[n] = 0;
  sscanf(line, "ask %ld %ld", &victim_gone.lo, &victim_gone.hi);
  return true;
}

__attribute__((unused, noreturn)) static void victim_pass(void) {
  victim_say("PASS");
  _exit(0);
}

__attribute__((unused)) static void victim_nap(long milliseconds) {
  struct timespec t = {milliseconds / 1000, milliseconds % 1000 * 1000000};
  while (nanosleep(&t, &t) && errno == EINTR) {
  }
}

/* Verifies every few milliseconds until asked, and once more. */
__attribute__((unused)) static void victim_watch(void (*verify)(void)) {
  while (!victim_asked()) {
    verify();
    victim_nap(5);
  }
  verify();
}

/* The same; then passes. */
__attribute__((unused, noreturn)) static void victim_loop(void (*verify)(void)) {
  victim_watch(verify);
  victim_pass();
}

/* Waits until asked, without checking anything. */
__attribute__((unused)) static void victim_wait(void) {
  while (!victim_asked()) victim_nap(5);
}

__attribute__((unused)) static int64_t now_ms(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return t.tv_sec * 1000ll + t.tv_nsec / 1000000;
}

/* ---- known contents ---- */

/* A word that depends on the seed and the place, and never is 0. */
__attribute__((unused)) static uint64_t known_word(uint64_t seed, uint64_t i) {
  uint64_t x = seed * 0x9e3779b97f4a7c15u + i + 1;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return (x ^ x >> 31) | 1;
}

__attribute__((unused)) static void fill_known(void *at, size_t bytes, uint64_t seed) {
  uint64_t *word = at;
  for (size_t i = 0; i < bytes / 8; i++) word[i] = known_word(seed, i);
}

/* Offset of the first byte that differs, or -1. */
__attribute__((unused)) static long differs_known(const void *at, size_t bytes, uint64_t seed) {
  const uint64_t *word = at;
  for (size_t i = 0; i < bytes / 8; i++)
    if (word[i] != known_word(seed, i)) return i * 8;
  return -1;
}

__attribute__((unused)) static bool all_zero(const void *at, size_t bytes) {
  const unsigned char *p = at;
  for (size_t i = 0; i < bytes; i++)
    if (p[i]) return false;
  return true;
}

/* Whether a byte can be read, without a fault if not. */
__attribute__((unused)) static bool readable(const void *at) {
  char byte;
  struct {
    void *base;
    size_t length;
  } here = {&byte, 1}, there = {(void *)at, 1};
  return syscall(SYS_process_vm_readv, getpid(), &here, 1l, &there, 1l, 0l) == 1;
}

/* /proc/self/pagemap: bit 63 present, 62 swapped, 61 file page or shared anonymous. */
__attribute__((unused)) static uint64_t pagemap_of(const void *at) {
  uint64_t entry = 0;
  int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  if (fd < 0 || pread(fd, &entry, 8, (uintptr_t)at / PAGE * 8) != 8) entry = 0;
  if (fd >= 0) close(fd);
  return entry;
}

/* Whether a page has been touched: is there, or in swap. */
__attribute__((unused)) static bool touched(const void *at) { return pagemap_of(at) >> 62 != 0; }

/* ---- files ---- */

/* Reads a whole file (of /proc, say) into a buffer, ends it with NUL; answers its length. */
__attribute__((unused)) static size_t slurp(const char *path, char *to, size_t room) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail("open %s: %s", path, strerrorname_np(errno));
  size_t have = 0;
  ssize_t n;
  while (have < room - 1 && (n = read(fd, to + have, room - 1 - have)) > 0) have += n;
  close(fd);
  to[have] = 0;
  return have;
}

/* ---- /proc/self/smaps: what must be the same afterwards ---- */

typedef struct {
  uintptr_t start, end;
  unsigned long offset;
  char perms[5];
  char dev[16];
  unsigned long ino;
  unsigned long page_kb;
  char name[160];
  char flags[120];
} Vma;

#define MAX_VMAS 2048
typedef struct {
  int count;
  Vma vma[MAX_VMAS];
} Layout;

__attribute__((unused)) static bool vma_continues(const Vma *a, const Vma *b) {
  bool file = a->ino != 0;
  return a->end == b->start && !strcmp(a->perms, b->perms) && !strcmp(a->flags, b->flags) &&
         !strcmp(a->name, b->name) && !strcmp(a->dev, b->dev) && a->ino == b->ino && a->page_kb == b->page_kb &&
         (!file || a->offset + (a->end - a->start) == b->offset);
}

/* Neighbours that are alike count as one: whether the kernel has merged them is no state of the program. */
__attribute__((unused)) static void read_layout(Layout *layout) {
  static char text[4 << 20];
  slurp("/proc/self/smaps", text, sizeof text);
  layout->count = 0;
  Vma vma = {0};
  for (char *line = text, *next; line && *line; line = next) {
    next = strchr(line, '\n');
    if (next) *next++ = 0;
    unsigned long start, end;
    int at = 0;
    if (sscanf(line, "%lx-%lx %4s %lx %15s %lu %n", &start, &end, vma.perms, &vma.offset, vma.dev, &vma.ino, &at) >=
        6) {
      vma.start = start;
      vma.end = end;
      snprintf(vma.name, sizeof vma.name, "%s", line + at);
      /* The kernel's own files behind shared anonymous memory are new ones after a restore. */
      if (!strncmp(vma.name, "/dev/zero (del", 14) || !strncmp(vma.name, "/SYSV", 5) || !strncmp(vma.name, "/memfd:", 7))
        vma.ino = 1;
    } else if (!strncmp(line, "KernelPageSize:", 15)) {
      vma.page_kb = strtoul(line + 15, 0, 10);
    } else if (!strncmp(line, "VmFlags:", 8)) {
      snprintf(vma.flags, sizeof vma.flags, "%s", line + 9);
      Vma *last = layout->count ? &layout->vma[layout->count - 1] : 0;
      if (last && vma_continues(last, &vma)) {
        last->end = vma.end;
      } else {
        if (layout->count == MAX_VMAS) fail("more than %d VMAs", MAX_VMAS);
        layout->vma[layout->count++] = vma;
      }
    }
  }
}

/* Whether two VMAs are the same; either may be missing. */
__attribute__((unused)) static int same_vma(const Vma *a, const Vma *b) {
  return a && b && a->start == b->start && a->end == b->end && !strcmp(a->perms, b->perms) &&
         !strcmp(a->flags, b->flags) && !strcmp(a->name, b->name) && a->offset == b->offset && a->ino == b->ino &&
         a->page_kb == b->page_kb;
}

/*
 * Fails, naming the first difference, if the layout is not what it was. One that was dumped while it read looks again:
 * it goes on reading at the position it had, in a text whose lines have other lengths.
 */
__attribute__((unused)) static void same_layout(const Layout *was) {
  static Layout is;
  for (int look = 1;; look++) {
    read_layout(&is);
    int i = 0;
    while (i < was->count && i < is.count && same_vma(&was->vma[i], &is.vma[i])) i++;
    if (i == was->count && i == is.count) return;
    if (look < 3) continue;
    const Vma *a = i < was->count ? &was->vma[i] : 0, *b = i < is.count ? &is.vma[i] : 0;
    if (!b) fail("lost %lx-%lx %s", a->start, a->end, a->name);
    if (!a) fail("appeared %lx-%lx %s %s", b->start, b->end, b->name, b->flags);
    fail("was %lx-%lx %s +%lx %s {%s}, is %lx-%lx %s +%lx %s {%s}", a->start, a->end, a->perms, a->offset, a->name,
         a->flags, b->start, b->end, b->perms, b->offset, b->name, b->flags);
  }
}

/* ---- one line of /proc/self/status ("SigBlk:", "CapEff:", …), into a static buffer ---- */
__attribute__((unused)) static const char *status_line(const char *key) {
  static char text[16384];
  static char value[512];
  slurp("/proc/self/status", text, sizeof text);
  char *at = text;
  size_t length = strlen(key);
  while (at && strncmp(at, key, length)) {
    at = strchr(at, '\n');
    if (at) at++;
  }
  if (!at) return "";
  at += length;
  while (*at == '\t' || *at == ' ') at++;
  snprintf(value, sizeof value, "%.*s", (int)strcspn(at, "\n"), at);
  return value;
}

#endif
