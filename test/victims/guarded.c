/*
 * guarded MEBIBYTES: much private memory, with pages in it of all kinds that a scan may take for others: guard regions,
 * pages given back, pages only read, pages that may not be read, and such that a child does not inherit.
 */
#include "victim.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

enum { WRITTEN, BACK, READ_ONLY_ZERO, GUARD, KINDS };

static unsigned char *plain, *unforked, *wiped, *hidden;
static size_t pages;
static bool has_guards;

static unsigned char *filled(size_t count, uint64_t seed) {
  unsigned char *p = mmap(0, count * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  check(p != MAP_FAILED);
  for (size_t i = 0; i < count; i++) fill_known(p + i * PAGE, PAGE, seed + i);
  check(mmap(0, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != MAP_FAILED);
  return p;
}

/* Sixteen pages of a kind, then sixteen of the next one. */
static int kind_of(size_t page) { return page / 16 % KINDS; }

static void verify(void) {
  for (size_t i = 0; i < pages; i++) {
    int kind = kind_of(i);
    if (kind == GUARD && has_guards) continue;
    if (kind == WRITTEN || kind == GUARD) check(differs_known(plain + i * PAGE, PAGE, i) < 0, "page %zu", i);
  }
  for (size_t i = 0; i < 64; i++) {
    check(differs_known(unforked + i * PAGE, PAGE, 7000000 + i) < 0, "page %zu that is not inherited", i);
    check(differs_known(wiped + i * PAGE, PAGE, 8000000 + i) < 0, "page %zu that is wiped", i);
  }
}

static void verify_all(void) {
  verify();
  check(mprotect(hidden, 64 * PAGE, PROT_READ) == 0);
  for (size_t i = 0; i < 64; i++) check(differs_known(hidden + i * PAGE, PAGE, 9000000 + i) < 0, "hidden page %zu", i);
  for (size_t i = 0; i < pages; i++)
    if (kind_of(i) == BACK || kind_of(i) == READ_ONLY_ZERO) check(all_zero(plain + i * PAGE, PAGE), "page %zu", i);
}

int main(int argc, char **argv) {
  pages = (size_t)(argc > 1 ? atol(argv[1]) : 64) << 8;
  plain = filled(pages, 0);
  unforked = filled(64, 7000000);
  check(madvise(unforked, 64 * PAGE, MADV_DONTFORK) == 0);
  wiped = filled(64, 8000000);
  check(madvise(wiped, 64 * PAGE, MADV_WIPEONFORK) == 0);
  hidden = filled(64, 9000000);
  check(mprotect(hidden, 64 * PAGE, PROT_NONE) == 0);
  has_guards = true;
  for (size_t i = 0; i < pages; i += 16) {
    int kind = kind_of(i);
    unsigned char *at = plain + i * PAGE;
    if (kind == BACK || kind == READ_ONLY_ZERO) check(madvise(at, 16 * PAGE, MADV_DONTNEED) == 0);
    if (kind == READ_ONLY_ZERO) check(all_zero(at, 16 * PAGE));
    if (kind == GUARD && has_guards) has_guards = madvise(at, 16 * PAGE, MADV_GUARD_INSTALL) == 0;
  }
  victim_ready();
  victim_wait();
  verify_all();
  victim_pass();
}
