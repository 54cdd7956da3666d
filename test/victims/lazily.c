/*
 * Holds memory whose pages it knows, and touches it in ways that a program can while its pages are still on their way:
 * when asked, once, in a random order, from several threads and from a child, so that each page is met in one of these
 * states for the first time.
 *
 * lazily [MIB]: how much (32)
 */
#include "victim.h"

#include <pthread.h>
#include <sys/wait.h>

#define THREADS 4

static unsigned char *memory, *kept, *thrown, *moved, *cut, *readonly_;
static size_t pages;

static void verify(const unsigned char *at, size_t first, size_t count, uint64_t seed) {
  for (size_t i = first; i < first + count; i++) {
    long d = differs_known(at + i * PAGE, PAGE, seed + i);
    check(d < 0, "seed %lx page %zu byte %ld", (long)seed, i, d);
  }
}

static unsigned char *make(size_t count, uint64_t seed) {
  unsigned char *p = mmap(0, (count + 1) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  check(p != MAP_FAILED);
  check(mprotect(p, count * PAGE, PROT_READ | PROT_WRITE) == 0);
  for (size_t i = 0; i < count; i++) fill_known(p + i * PAGE, PAGE, seed + i);
  return p;
}

/* Every page once, in an order that differs by thread: whoever comes first waits for it. */
static void *walk(void *argument) {
  size_t t = (size_t)argument;
  for (size_t i = 0; i < pages; i++) {
    size_t page = (i * 2654435761u + t * (pages / THREADS)) % pages;
    verify(memory, page, 1, 1 << 20);
  }
  return 0;
}

static void from_a_child(void) {
  pid_t child = fork();
  check(child >= 0);
  if (child == 0) {
    verify(kept, 0, pages, 2 << 20);
    /* A child of the child, and memory that the child moves: the parent's stays where it is. */
    pid_t next = fork();
    check(next >= 0);
    unsigned char *there = mremap(kept, pages * PAGE, pages * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
                                  mmap(0, pages * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    check(there != MAP_FAILED);
    verify(there, 0, pages, 2 << 20);
    verify(moved, 0, pages, 4 << 20);
    if (next == 0) _exit(0);
    int status;
    check(waitpid(next, &status, 0) == next && status == 0, "grandchild %x", status);
    _exit(0);
  }
  /* The parent writes meanwhile, which the child must not see. */
  for (size_t i = 0; i < pages; i += 3) fill_known(kept + i * PAGE, PAGE, (3 << 20) + i);
  int status;
  check(waitpid(child, &status, 0) == child && status == 0, "child %x", status);
  for (size_t i = 0; i < pages; i++) verify(kept, i, 1, i % 3 ? 2 << 20 : 3 << 20);
}

static void rearrange(void) {
  /* Given up: zeros, also where pages were on their way. */
  check(madvise(thrown + PAGE, (pages / 2) * PAGE, MADV_DONTNEED) == 0);
  verify(thrown, 0, 1, 5 << 20);
  for (size_t i = 1; i <= pages / 2; i++) check(all_zero(thrown + i * PAGE, PAGE), "page %zu", i);
  verify(thrown, pages / 2 + 1, pages - pages / 2 - 1, 5 << 20);
  /* Moved, grown, and shrunk. */
  unsigned char *to = mremap(moved, pages * PAGE, 2 * pages * PAGE, MREMAP_MAYMOVE);
  check(to != MAP_FAILED);
  verify(to, 0, pages, 4 << 20);
  for (size_t i = pages; i < 2 * pages; i += 7) check(all_zero(to + i * PAGE, PAGE));
  check(mremap(to, 2 * pages * PAGE, pages / 2 * PAGE, 0) == to);
  verify(to, 0, pages / 2, 4 << 20);
  /* A hole, which becomes other memory; protections that cut the mapping into many. */
  check(munmap(cut + 3 * PAGE, 5 * PAGE) == 0);
  check(mmap(cut + 3 * PAGE, 5 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
        cut + 3 * PAGE);
  for (size_t i = 3; i < 8; i++) check(all_zero(cut + i * PAGE, PAGE));
  for (size_t i = 9; i < pages; i += 2) check(mprotect(cut + i * PAGE, PAGE, PROT_READ) == 0);
  verify(cut, 0, 3, 6 << 20);
  verify(cut, 8, pages - 8, 6 << 20);
  /* The kernel touches pages as well. */
  int fd[2];
  check(pipe(fd) == 0);
  for (size_t i = 0; i < pages; i += 5) {
    static unsigned char copy[4096];
    check(write(fd[1], readonly_ + i * PAGE, PAGE) == (ssize_t)PAGE);
    check(read(fd[0], copy, PAGE) == (ssize_t)PAGE);
    check(differs_known(copy, PAGE, (7 << 20) + i) < 0);
  }
  verify(readonly_, 0, pages, 7 << 20);
}

int main(int count, char **words) {
  size_t all = (count > 1 ? atoi(words[1]) : 32) << 8;
  pages = all / 6;
  memory = make(pages, 1 << 20);
  kept = make(pages, 2 << 20);
  moved = make(pages, 4 << 20);
  thrown = make(pages, 5 << 20);
  cut = make(pages, 6 << 20);
  readonly_ = make(pages, 7 << 20);
  check(mprotect(readonly_, pages * PAGE, PROT_READ) == 0);
  victim_ready();
  victim_wait();
  pthread_t threads[THREADS];
  for (size_t t = 0; t < THREADS; t++) check(pthread_create(&threads[t], 0, walk, (void *)t) == 0);
  from_a_child();
  rearrange();
  for (int t = 0; t < THREADS; t++) pthread_join(threads[t], 0);
  victim_pass();
}
