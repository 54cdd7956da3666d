/*
 * Memory: anonymous, private and shared file mappings, exact protections and flags, changed and untouched pages.
 * memory shared: shared anonymous mappings as well.
 */
#include "victim.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif
#include <sys/prctl.h>

/* What a block holds, to be checked again and again. */
typedef struct {
  const char *what;
  unsigned char *at;
  size_t pages;
  uint64_t seed;    /* contents of every page unless a mask says otherwise */
  uint64_t written; /* bit i: page i holds known words; else it holds zeroes and was never touched */
  bool hidden;      /* has no rights; opened for the last check */
} Block;

static Block blocks[64];
static int block_count;
static Layout layout;
static unsigned char *guarded;

/* Maps `pages` pages and writes those in `written`. */
static unsigned char *block(const char *what, size_t pages, uint64_t written, int prot, int flags, int fd, off_t at) {
  unsigned char *p = mmap(0, pages * PAGE, prot, flags, fd, at);
  check(p != MAP_FAILED, "%s", what);
  Block b = {what, p, pages, 1000 + block_count, written, false};
  for (size_t i = 0; i < pages; i++)
    if (written >> i & 1) fill_known(p + i * PAGE, PAGE, b.seed + i * 77);
  blocks[block_count++] = b;
  /* A page of nothing between blocks, so that no two become one. */
  check(mmap(0, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != MAP_FAILED);
  return p;
}

static void verify_block(const Block *b) {
  if (b->hidden) return;
  for (size_t i = 0; i < b->pages && i < 64; i++) {
    unsigned char *page = b->at + i * PAGE;
    if (b->written >> i & 1) {
      long at = differs_known(page, PAGE, b->seed + i * 77);
      check(at < 0, "%s page %zu offset %ld", b->what, i, at);
    }
  }
}

static void verify(void) {
  for (int i = 0; i < block_count; i++) verify_block(&blocks[i]);
}

/* Untouched pages stay untouched; checked before they are read. */
static void verify_untouched(void) {
  for (int i = 0; i < block_count; i++) {
    const Block *b = &blocks[i];
    for (size_t p = 0; p < b->pages && p < 64; p++)
      if (!(b->written >> p & 1) && b->at != guarded - 2 * PAGE) /* guards look touched */
        check(!touched(b->at + p * PAGE), "%s page %zu was never touched", b->what, p);
  }
}

static int new_file(const char *name, size_t pages, uint64_t seed) {
  int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  check(fd >= 0, "%s", name);
  static unsigned char page[4096];
  for (size_t i = 0; i < pages; i++) {
    fill_known(page, PAGE, seed + i);
    check(write(fd, page, PAGE) == (ssize_t)PAGE);
  }
  return fd;
}

int main(int argc, char **argv) {
  const int anon = MAP_PRIVATE | MAP_ANONYMOUS, rw = PROT_READ | PROT_WRITE;
  unsigned char *p;

  block("anonymous", 8, 0xff, rw, anon, -1, 0);
  block("holes", 16, 0xa5c3, rw, anon, -1, 0);
  block("untouched", 32, 0, rw, anon, -1, 0);
  block("noreserve", 4, 0x5, rw, anon | MAP_NORESERVE, -1, 0);
  p = block("read-only", 4, 0xf, rw, anon, -1, 0);
  check(!mprotect(p, 4 * PAGE, PROT_READ));
  p = block("executable", 4, 0x6, rw, anon, -1, 0);
  check(!mprotect(p, 4 * PAGE, PROT_READ | PROT_EXEC));
  p = block("all rights", 2, 1, rw, anon, -1, 0);
  check(!mprotect(p, 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC));
  unsigned char *hidden = block("no rights", 4, 0xa, rw, anon, -1, 0);
  check(!mprotect(hidden, 4 * PAGE, PROT_NONE));
  Block *opened = &blocks[block_count - 1];
  opened->hidden = true;
  p = block("write-only", 2, 3, rw, anon, -1, 0);
  check(!mprotect(p, 2 * PAGE, PROT_WRITE));
  if (argc > 1 && !strcmp(argv[1], "shared")) {
    block("shared anonymous", 8, 0x81, rw, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    p = block("shared anonymous, read-only", 4, 0xf, rw, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    check(!mprotect(p, 4 * PAGE, PROT_READ));
  }
  p = block("striped", 9, 0x1ff, rw, anon, -1, 0);
  for (int i = 0; i < 9; i += 2) check(!mprotect(p + i * PAGE, PAGE, PROT_READ));

  /* Advice. Each is a flag of the VMA. */
  static const struct {
    const char *name;
    int advice;
  } advices[] = {{"random", MADV_RANDOM},         {"sequential", MADV_SEQUENTIAL}, {"dontfork", MADV_DONTFORK},
                 {"dontdump", MADV_DONTDUMP},     {"wipeonfork", MADV_WIPEONFORK}, {"hugepage", MADV_HUGEPAGE},
                 {"nohugepage", MADV_NOHUGEPAGE}, {"mergeable", MADV_MERGEABLE}};
  for (size_t i = 0; i < sizeof advices / sizeof *advices; i++) {
    p = block(advices[i].name, 4, 0x9, rw, anon, -1, 0);
    if (madvise(p, 4 * PAGE, advices[i].advice) && errno != EINVAL) fail("madvise %s", advices[i].name);
  }

  /* Locked; the limit may be small. */
  p = block("locked", 2, 3, rw, anon, -1, 0);
  check(!mlock(p, 2 * PAGE));
  p = block("locked, and not accessible", 3, 5, rw, anon, -1, 0);
  check(!mlock(p, 3 * PAGE) && !mprotect(p, 3 * PAGE, PROT_NONE));
  block_count--; /* nobody can read it */
  p = block("locked on fault", 3, 2, rw, anon, -1, 0);
  check(!mlock2(p, 3 * PAGE, MLOCK_ONFAULT));

  /* A stack of our own that has grown: the kernel moves its start. */
  {
    unsigned char *room = mmap(0, 1024 * PAGE, PROT_NONE, anon | MAP_NORESERVE, -1, 0);
    check(room != MAP_FAILED && !munmap(room, 1024 * PAGE));
    p = mmap(room + 1000 * PAGE, 4 * PAGE, rw, anon | MAP_GROWSDOWN | MAP_FIXED_NOREPLACE, -1, 0);
    check(p == room + 1000 * PAGE);
    for (int i = 0; i < 3; i++) {
      p -= PAGE;
      *(volatile char *)p = 0;
    }
    Block b = {"grows down", p, 7, 4711, 0x7f, false};
    for (int i = 0; i < 7; i++) fill_known(p + i * PAGE, PAGE, b.seed + i * 77);
    blocks[block_count++] = b;
  }

  /* Guard pages inside a mapping (6.13): reading them is a fault, and the mapping stays whole. */
  p = block("guarded", 6, 0x33, rw, anon, -1, 0);
  if (!madvise(p + 2 * PAGE, 2 * PAGE, MADV_GUARD_INSTALL)) guarded = p + 2 * PAGE;

  /* May vanish under pressure, so its contents promise nothing: the mapping counts (6.11). */
  p = mmap(0, 4 * PAGE, rw, MAP_DROPPABLE | MAP_ANONYMOUS, -1, 0);
  if (p != MAP_FAILED) *p = 1;

  /* A name, where the kernel has them. */
  p = block("named", 2, 1, rw, anon, -1, 0);
  prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, p, 2 * PAGE, "victim: a name");

  /* Sealed (6.10): its protection can never be changed again. */
  unsigned char *sealed = block("sealed", 2, 3, rw, anon, -1, 0);
  bool is_sealed = syscall(462, sealed, 2 * PAGE, 0) == 0;

  /* Low, and far too large to be there. */
  check(mmap((void *)0x7000000, 2 * PAGE, rw, anon | MAP_FIXED_NOREPLACE, -1, 0) == (void *)0x7000000);
  blocks[block_count++] = (Block){"low", (void *)0x7000000, 2, 99, 2, false};
  fill_known((void *)0x7001000, PAGE, 99 + 77);
  uint64_t *vast = mmap(0, 1ull << 40, rw, anon | MAP_NORESERVE, -1, 0);
  check(vast != MAP_FAILED);
  vast[123ull << 27] = 0x1234567890abcdef;

  /* Files. Private: pages 1 and 4 changed, the others follow the file. Shared: writes go to the file. */
  int fd = new_file("private", 6, 500);
  unsigned char *private = mmap(0, 6 * PAGE, rw, MAP_PRIVATE, fd, 0);
  check(private != MAP_FAILED);
  fill_known(private + PAGE, PAGE, 901);
  private[4 * PAGE + 7] ^= 0xff;
  int shared_fd = new_file("shared", 6, 600);
  unsigned char *shared = mmap(0, 4 * PAGE, rw, MAP_SHARED, shared_fd, 2 * PAGE);
  check(shared != MAP_FAILED);
  fill_known(shared + PAGE, PAGE, 902);
  unsigned char *constant = mmap(0, 2 * PAGE, PROT_READ, MAP_PRIVATE, shared_fd, 0);
  check(constant != MAP_FAILED);
  int read_only = open("shared", O_RDONLY | O_CLOEXEC);
  unsigned char *shared_constant = mmap(0, 2 * PAGE, PROT_READ, MAP_SHARED, read_only, 0);
  check(shared_constant != MAP_FAILED && !close(read_only));
  /* Longer than its file: the rest faults with SIGBUS, for everybody. */
  int short_fd = new_file("short", 1, 700);
  unsigned char *beyond = mmap(0, 4 * PAGE, rw, MAP_PRIVATE, short_fd, 0);
  check(beyond != MAP_FAILED && !close(short_fd));
  int zero_fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
  unsigned char *zero = mmap(0, 4 * PAGE, rw, MAP_PRIVATE, zero_fd, 0);
  check(zero != MAP_FAILED && !close(zero_fd));
  fill_known(zero + PAGE, PAGE, 903);

  verify();
  read_layout(&layout);
  verify_untouched();
  read_layout(&layout);
  victim_ready();
  while (!victim_asked()) {
    verify();
    victim_nap(5);
  }

  same_layout(&layout);
  verify_untouched();
  verify();
  check(!mprotect(hidden, 4 * PAGE, PROT_READ));
  opened->hidden = false;
  verify_block(opened);
  check(all_zero(hidden, PAGE));
  if (guarded) {
    check(!readable(guarded) && !readable(guarded + PAGE), "the guard pages guard no more");
    check(readable(guarded - 1) && readable(guarded + 2 * PAGE));
  }
  if (is_sealed) check(mprotect(sealed, PAGE, PROT_READ) == -1 && errno == EPERM, "the seal is broken");
  check(vast[123ull << 27] == 0x1234567890abcdef && !touched(vast) && !touched(&vast[(123ull << 27) + 1024]));

  check(differs_known(private + PAGE, PAGE, 901) < 0, "changed page of a private mapping");
  check(differs_known(private, PAGE, 500) < 0 && differs_known(private + 5 * PAGE, PAGE, 505) < 0);
  private[4 * PAGE + 7] ^= 0xff;
  check(differs_known(private + 4 * PAGE, PAGE, 504) < 0);
  check(pwrite(fd, "follow", 6, 0) == 6 && pwrite(fd, "follow", 6, PAGE) == 6);
  check(!memcmp(private, "follow", 6), "an unchanged page of a private mapping follows the file");
  check(differs_known(private + PAGE, PAGE, 901) < 0, "a changed page does not");
  unsigned char page[4096];
  check(pread(shared_fd, page, PAGE, 3 * PAGE) == (ssize_t)PAGE && differs_known(page, PAGE, 902) < 0);
  check(differs_known(shared, PAGE, 602) < 0 && differs_known(constant + PAGE, PAGE, 601) < 0);
  strcpy((char *)shared, "through the mapping");
  check(pread(shared_fd, page, PAGE, 2 * PAGE) == (ssize_t)PAGE && !strcmp((char *)page, "through the mapping"));
  check(!memcmp(shared_constant, constant, 2 * PAGE));
  check(mprotect(shared_constant, PAGE, rw) == -1 && errno == EACCES, "mapped from a file opened for reading");
  check(differs_known(beyond, PAGE, 700) < 0 && !readable(beyond + PAGE), "beyond the end of its file");
  check(differs_known(zero + PAGE, PAGE, 903) < 0 && all_zero(zero, PAGE) && all_zero(zero + 2 * PAGE, 2 * PAGE));
  victim_pass();
}
