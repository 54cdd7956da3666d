/*
 * Writes to memory of all kinds without a pause, from four threads of each of two processes, and knows of every page
 * what it holds: which is a matter of the region, the page and how often it was written. A table says how often. Pages
 * and table are memory, so whatever moment a dump takes, they must fit together when the program goes on from it.
 *
 * scribbler [PAGES] [MODE]: the size of a region (200), and how it is confined:
 *   nproc    another user's, who may make no more processes
 *   seccomp  killed when it makes a process, or waits for one that is not to be seen
 */
#include "victim.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define THREADS 4
#define MOST_PAGES 4096

typedef enum { PLAIN, SHARED, HUGE, MOVED, REMAPPED, GROWING, OF_FILE, DROPPED, CLOSED, UNFORKED, WIPED, KINDS } Kind;

typedef struct {
  Kind kind;
  int id;
  unsigned char *at;
  unsigned char *home; /* MOVED, GROWING: a reservation of twice the size */
  size_t pages, most;
  uint32_t times[MOST_PAGES]; /* how often each page was written; 0: as it was mapped */
} Region;

/* What both processes share: their agreement, not what is tested. */
typedef struct {
  volatile int stop, child_ready, child_done, child_ok;
} Meeting;

static Region regions[THREADS][KINDS];
static uint64_t dice[THREADS];
static pthread_barrier_t *quiet;
static volatile bool stop;
static size_t size = 200;
static Meeting *meeting;
static int file_fd;

static uint64_t roll(int t) {
  uint64_t x = dice[t];
  x ^= x << 13, x ^= x >> 7, x ^= x << 17;
  return dice[t] = x;
}

static uint64_t seed_of(const Region *r, size_t page, uint32_t times) {
  return ((uint64_t)r->id << 40) + ((uint64_t)page << 20) + times;
}

static unsigned char *reserve(size_t pages) {
  unsigned char *p = mmap(0, pages * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  check(p != MAP_FAILED);
  return p;
}

static unsigned char *map_at(void *at, size_t pages, int flags, int fd) {
  unsigned char *p = mmap(at, pages * PAGE, PROT_READ | PROT_WRITE, flags | (at ? MAP_FIXED : 0), fd, 0);
  check(p != MAP_FAILED, "%zu pages", pages);
  return p;
}

static void make_region(Region *r, Kind kind, int id) {
  r->kind = kind;
  r->id = id;
  r->pages = r->most = size;
  int anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
  switch (kind) {
    case SHARED:
      r->at = map_at(0, size, MAP_SHARED | MAP_ANONYMOUS, -1);
      break;
    case HUGE: {
      size_t huge = 2 << 20;
      r->pages = r->most = 1024;
      unsigned char *p = reserve(1024 + 512);
      r->at = map_at((void *)(((uintptr_t)p + huge - 1) & ~(huge - 1)), 1024, anonymous, -1);
      madvise(r->at, 1024 * PAGE, MADV_HUGEPAGE);
      break;
    }
    case MOVED:
    case GROWING:
      r->home = reserve(2 * size + 2);
      r->pages = kind == MOVED ? size : 1;
      r->at = map_at(r->home, r->pages, anonymous, -1);
      break;
    case OF_FILE:
      r->at = map_at(0, size, MAP_PRIVATE, file_fd);
      break;
    default:
      r->at = map_at(0, size, anonymous, -1);
      if (kind == UNFORKED) check(madvise(r->at, size * PAGE, MADV_DONTFORK) == 0);
      if (kind == WIPED) check(madvise(r->at, size * PAGE, MADV_WIPEONFORK) == 0);
  }
  /* A page of nothing behind it, so that no two regions become one. */
  reserve(1);
}

static void verify_page(const Region *r, size_t page) {
  const unsigned char *p = r->at + page * PAGE;
  uint32_t times = r->times[page];
  if (times > 0) {
    long at = differs_known(p, PAGE, seed_of(r, page, times));
    check(at < 0, "region %d of kind %d, page %zu, byte %ld, written %u times", r->id, r->kind, page, at, times);
  } else if (r->kind == OF_FILE) {
    check(differs_known(p, PAGE, 7 + page) < 0, "region %d, page %zu of the file", r->id, page);
  } else {
    check(all_zero(p, PAGE), "region %d of kind %d, page %zu has to be zeros", r->id, r->kind, page);
  }
}

static void forget(Region *r, size_t from, size_t to) {
  for (size_t i = from; i < to; i++) r->times[i] = 0;
}

/* What is done to a region besides writing. */
static void treat(Region *r, int t) {
  size_t page = roll(t) % r->pages;
  switch (r->kind) {
    case MOVED: {
      unsigned char *to = r->at == r->home ? r->home + (size + 1) * PAGE : r->home;
      unsigned char *was = r->at;
      check(mremap(r->at, size * PAGE, size * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
      check(mmap(was, size * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == was);
      r->at = to;
      break;
    }
    case REMAPPED:
      check(munmap(r->at, size * PAGE) == 0);
      map_at(r->at, size, MAP_PRIVATE | MAP_ANONYMOUS, -1);
      forget(r, 0, size);
      break;
    case GROWING:
      if (r->pages == size) {
        check(mmap(r->at + PAGE, (size - 1) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
                   -1, 0) != MAP_FAILED);
        forget(r, 1, size);
        r->pages = 1;
      } else {
        size_t more = r->pages + 1 + roll(t) % 8;
        if (more > size) more = size;
        check(munmap(r->at + r->pages * PAGE, (more - r->pages) * PAGE) == 0);
        check(mremap(r->at, r->pages * PAGE, more * PAGE, 0) == r->at);
        r->pages = more;
      }
      break;
    case DROPPED:
    case OF_FILE: {
      size_t to = page + 1 + roll(t) % 4;
      if (to > r->pages) to = r->pages;
      check(madvise(r->at + page * PAGE, (to - page) * PAGE, MADV_DONTNEED) == 0);
      forget(r, page, to);
      break;
    }
    case CLOSED:
      check(mprotect(r->at, size * PAGE, PROT_NONE) == 0);
      for (int i = 0; i < 100; i++) (void)roll(t);
      check(mprotect(r->at, size * PAGE, PROT_READ | PROT_WRITE) == 0);
      break;
    default:
      break;
  }
}

static void scribble(int t, bool last) {
  Region *r = &regions[t][roll(t) % KINDS];
  size_t page = roll(t) % r->pages;
  fill_known(r->at + page * PAGE, PAGE, seed_of(r, page, r->times[page] + 1));
  r->times[page]++;
  verify_page(r, page);
  verify_page(r, roll(t) % r->pages);
  if (!last && roll(t) % 64 == 0) treat(r, t);
}

static void *writer(void *argument) {
  int t = (int)(intptr_t)argument;
  for (unsigned round = 0; !stop; round++) {
    scribble(t, false);
    if (round % 32 == 0) victim_nap(1);
  }
  pthread_barrier_wait(quiet);
  return 0;
}

static void verify_all(void) {
  for (int t = 0; t < THREADS; t++)
    for (int k = 0; k < KINDS; k++)
      for (size_t page = 0; page < regions[t][k].pages; page++) verify_page(&regions[t][k], page);
}

static void run(pthread_t *threads, pthread_barrier_t *barrier) {
  quiet = barrier;
  check(pthread_barrier_init(barrier, 0, THREADS + 1) == 0);
  for (int t = 0; t < THREADS; t++) check(pthread_create(&threads[t], 0, writer, (void *)(intptr_t)t) == 0);
}

static void end(pthread_t *threads) {
  stop = true;
  pthread_barrier_wait(quiet);
  for (int t = 0; t < THREADS; t++) pthread_join(threads[t], 0);
  verify_all();
}

static volatile sig_atomic_t ends;

static void count_ends(int signal) { ends += signal == SIGCHLD; }

#define ARGUMENT(n) (offsetof(struct seccomp_data, args) + 8 * (n))

/* Forbids all threads to make processes, and to wait for any but common children. */
static void forbid(void) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 6, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 5, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 4, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_wait4, 0, 2),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARGUMENT(2)),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, __WALL, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
  };
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  check(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0);
}

static void confine(const char *mode) {
  if (!strcmp(mode, "seccomp")) forbid();
  if (!strcmp(mode, "nproc")) check(setrlimit(RLIMIT_NPROC, &(struct rlimit){1, 1}) == 0);
}

int main(int count, char **words) {
  static pthread_t threads[THREADS];
  static pthread_barrier_t barrier;
  const char *mode = count > 2 ? words[2] : "";
  if (count > 1) size = atoi(words[1]);
  if (!strcmp(mode, "nproc")) check(chmod(".", 0777) == 0 && setresuid(12345, 12345, 12345) == 0);
  check(size > 8 && size <= MOST_PAGES);
  file_fd = open("scribbled", O_RDWR | O_CREAT | O_TRUNC, 0600);
  check(file_fd >= 0);
  static unsigned char page[4096];
  for (size_t i = 0; i < size; i++) {
    fill_known(page, PAGE, 7 + i);
    check(write(file_fd, page, PAGE) == (ssize_t)PAGE);
  }
  meeting = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  check(meeting != MAP_FAILED);
  for (int t = 0; t < THREADS; t++) {
    dice[t] = known_word(11, t);
    for (int k = 0; k < KINDS; k++) make_region(&regions[t][k], k, 1 + t * KINDS + k);
    for (int i = 0; i < 400; i++) scribble(t, true);
  }
  pid_t child = fork();
  check(child >= 0);
  if (child == 0) {
    /* The child writes to copies of its own: of shared memory, and what it has not got, it makes new ones. */
    static const Kind own[] = {SHARED, UNFORKED, WIPED};
    for (int t = 0; t < THREADS; t++) {
      dice[t] = known_word(12, t);
      for (int i = 0; i < 3; i++) {
        make_region(&regions[t][own[i]], own[i], 1000 + t + 10 * i);
        forget(&regions[t][own[i]], 0, size);
      }
    }
    run(threads, &barrier);
    confine(mode);
    meeting->child_ready = 1;
    while (!meeting->stop) victim_nap(5);
    end(threads);
    meeting->child_ok = 1;
    meeting->child_done = 1;
    _exit(0);
  }
  run(threads, &barrier);
  while (!meeting->child_ready) victim_nap(1);
  confine(mode);
  if (*mode) signal(SIGCHLD, count_ends);
  victim_ready();
  while (!victim_asked()) {
    if (*mode) {
      /* Its one child lives, and it knows of no other. */
      check(waitpid(-1, 0, WNOHANG) == 0 && ends == 0, "%d have ended", ends);
      victim_nap(5);
      continue;
    }
    /* A child for a moment, which shares all pages as they are. */
    pid_t brief = fork();
    check(brief >= 0);
    if (brief == 0) _exit(0);
    check(waitpid(brief, 0, 0) == brief);
    victim_nap(20);
  }
  end(threads);
  meeting->stop = 1;
  int status;
  check(waitpid(child, &status, 0) == child);
  check(WIFEXITED(status) && WEXITSTATUS(status) == 0 && meeting->child_ok, "the child: status %x", status);
  victim_pass();
}
