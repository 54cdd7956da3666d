/*
 * Memory of relatives: what they share stays shared, what was copied stays their own, what was advised stays so. A
 * parent, a child and a grandchild, each with its own changes.
 *
 *     sharedmem [KIND…]    by default all but those the machine has not
 */
#include "family.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif
#define PAGES 16
#define RW (PROT_READ | PROT_WRITE)
#define LAST 2 /* member */

/* Shared memory: the first page is a desk, the others hold known words. */
typedef struct {
  _Atomic uint64_t word[LAST + 1];
} Desk;

typedef struct {
  Desk *desk;
  uint64_t seed;
  _Atomic int32_t *told; /* words of the family: what each has written to the desk before */
  size_t page;
  int first, missing; /* pages this process has not: [first, first + missing) */
} Channel;

static Channel channels[10];
static int channel_count;

/* Shared memory that all are to see the same things in. */
static Channel *channel(void *at, size_t page) {
  check(at != MAP_FAILED);
  Channel *c = &channels[channel_count++];
  *c = (Channel){at, 300 + channel_count, &family->word[channel_count * (LAST + 1)], page, 0, 0};
  for (int i = 1; i < PAGES; i++) fill_known((char *)at + i * page, PAGE, c->seed + i);
  return c;
}

/* What others wrote before they said so is there. */
static void verify_channel(Channel *c) {
  int32_t mine = c->told[me] + 1;
  c->desk->word[me] = mine;
  atomic_store(&c->told[me], mine);
  for (int m = 0; m <= LAST; m++) {
    uint64_t said = (uint32_t)atomic_load(&c->told[m]), is = c->desk->word[m];
    check(is >= said, "channel %d: member %d wrote %lu, member %d sees %lu", (int)(c - channels), m, said, me, is);
  }
  for (int i = 1; i < PAGES; i++) {
    char *page = (char *)c->desk + i * c->page;
    bool missing = i >= c->first && i < c->first + c->missing;
    if (missing) check(!readable(page), "page %d of member %d", i, me);
    else
      check(differs_known(page, PAGE, c->seed + i) < 0, "channel %d page %d of member %d", (int)(c - channels), i, me);
  }
}

static void verify_channels(void) {
  for (Channel *c = channels; c < channels + channel_count; c++) verify_channel(c);
}

/* ---- anonymous: the child lacks some pages, the grandchild may not write some ---- */

static Channel *anonymous;

static void set_anon(void) { anonymous = channel(mmap(0, PAGES * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0), PAGE); }

static void own_anon(void) {
  char *at = (char *)anonymous->desk;
  if (me == 1) {
    anonymous->first = 4;
    anonymous->missing = 3;
    check(!munmap(at + 4 * PAGE, 3 * PAGE));
  }
  if (me == 2) { /* has its parent's hole, too */
    check(!mprotect(at + 8 * PAGE, 4 * PAGE, PROT_READ));
    check(mremap(at + 12 * PAGE, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at + 4 * PAGE) == at + 4 * PAGE);
    check(mremap(at + 4 * PAGE, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at + 12 * PAGE) == at + 12 * PAGE);
  }
}

static void end_anon(void) {
  char *at = (char *)anonymous->desk;
  if (me == 2) check(!mprotect(at + 8 * PAGE, 4 * PAGE, RW));
  at[9 * PAGE]++;
  at[9 * PAGE]--;
}

/* ---- memfd: each has something else of it: the mapping, the descriptor, both ---- */

static int sealed = -1;

static void set_memfd(void) {
  sealed = memfd_create("a victim's", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  check(sealed >= 0 && !ftruncate(sealed, PAGES * PAGE));
  channel(mmap(0, PAGES * PAGE, RW, MAP_SHARED, sealed, 0), PAGE);
  check(!fcntl(sealed, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK));
}

static void own_memfd(void) {
  if (me == 0) check(!close(sealed));
}

static void end_memfd(void) {
  if (me == 0) return;
  check(fcntl(sealed, F_GET_SEALS) == (F_SEAL_GROW | F_SEAL_SHRINK));
  check(ftruncate(sealed, 0) < 0 && errno == EPERM);
}

/* ---- memfd that may be written through mappings from before its seal only ---- */

static int future = -1;

static void set_future(void) {
  future = memfd_create("future", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  check(future >= 0 && !ftruncate(future, PAGES * PAGE));
  channel(mmap(0, PAGES * PAGE, RW, MAP_SHARED, future, 0), PAGE);
  check(!fcntl(future, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
}

static void end_future(void) {
  check(fcntl(future, F_GET_SEALS) == F_SEAL_FUTURE_WRITE);
  check(mmap(0, PAGE, RW, MAP_SHARED, future, 0) == MAP_FAILED && errno == EPERM);
}

/* ---- huge pages ---- */

static void set_huge(void) {
  size_t huge = 2 << 20;
  char *at = mmap(0, PAGES * huge, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
  if (at == MAP_FAILED) return; /* the machine has not enough */
  channel(at, huge);
}

/* ---- files without a name: of POSIX shared memory, that never had one, deleted ones ---- */

static void map_and_forget(int fd) {
  check(fd >= 0 && !ftruncate(fd, PAGES * PAGE));
  channel(mmap(0, PAGES * PAGE, RW, MAP_SHARED, fd, 0), PAGE);
  check(!close(fd));
}

static void set_shm(void) {
  char name[64];
  snprintf(name, sizeof name, "/stasis-victim-%d", getpid());
  int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
  check(fd >= 0 && !shm_unlink(name));
  map_and_forget(fd);
}

static void set_nameless(void) { map_and_forget(open("/dev/shm", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600)); }

static void set_deleted(void) {
  int fd = open("deleted", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  check(fd >= 0 && !unlink("deleted"));
  map_and_forget(fd);
}

/* ---- a stack of our own, that grows ---- */

static unsigned char *stack;
static size_t stack_pages = 4;

static void set_growing(void) {
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
  unsigned char *room = mmap(0, 2048 * PAGE, PROT_NONE, flags | MAP_NORESERVE, -1, 0);
  check(room != MAP_FAILED && !munmap(room, 2048 * PAGE));
  stack = room + 2000 * PAGE;
  check(mmap(stack, 4 * PAGE, RW, flags | MAP_GROWSDOWN | MAP_FIXED_NOREPLACE, -1, 0) == stack);
}

/* One page after the other, downwards. */
static void grow_by(int count) {
  while (count-- > 0) {
    stack -= PAGE;
    stack_pages++;
    *(volatile char *)stack = 1;
  }
  for (size_t i = 0; i < stack_pages; i++) fill_known(stack + i * PAGE, PAGE, 8000 + me * 100 + stack_pages - i);
}

static void own_growing(void) { grow_by(3 + 5 * me); }

static void verify_growing(void) {
  for (size_t i = 0; i < stack_pages; i++)
    check(differs_known(stack + i * PAGE, PAGE, 8000 + me * 100 + stack_pages - i) < 0, "page %zu of the stack", i);
}

static void end_growing(void) {
  grow_by(40);
  verify_growing();
}

/* ---- advice ---- */

static unsigned char *parents_only, *wiped, *merged, *advised;

static unsigned char *advise(int advice) {
  unsigned char *at = mmap(0, 4 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  check(at != MAP_FAILED && mmap(0, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
  if (madvise(at, 4 * PAGE, advice)) check(errno == EINVAL); /* not in every kernel */
  fill_known(at, 4 * PAGE, 4000 + advice);
  return at;
}

static void set_advice(void) {
  parents_only = advise(MADV_DONTFORK);
  wiped = advise(MADV_WIPEONFORK);
  merged = advise(MADV_MERGEABLE);
  advised = advise(MADV_NOHUGEPAGE);
  advise(MADV_HUGEPAGE);
  advise(MADV_SEQUENTIAL);
  advise(MADV_DONTDUMP);
}

static void own_advice(void) {
  if (me == 1) check(!madvise(advised, 4 * PAGE, MADV_DONTFORK));
}

static void verify_advice(void) {
  check(readable(parents_only) == (me == 0));
  if (me == 0) check(differs_known(wiped, 4 * PAGE, 4000 + MADV_WIPEONFORK) < 0);
  else
    check(all_zero(wiped, 4 * PAGE));
  check(differs_known(merged, 4 * PAGE, 4000 + MADV_MERGEABLE) < 0);
  if (me != 2) check(differs_known(advised, 4 * PAGE, 4000 + MADV_NOHUGEPAGE) < 0);
}

/* A child has what the advice says. */
static void end_advice(void) {
  *wiped = 1;
  pid_t pid = fork();
  check(pid >= 0);
  if (pid == 0) {
    check(!readable(parents_only) && all_zero(wiped, 4 * PAGE));
    if (me == 1) check(!readable(advised));
    _exit(0);
  }
  int status;
  check(waitpid(pid, &status, 0) == pid && status == 0, "%#x", status);
}

/* ---- much address space, little memory; private and shared ---- */

static unsigned char *sparse, *sparse_shared;
#define STEP (7ull << 30)

static void set_sparse(void) {
  const int flags = MAP_ANONYMOUS | MAP_NORESERVE;
  sparse = mmap(0, 100ull << 30, RW, MAP_PRIVATE | flags, -1, 0);
  sparse_shared = mmap(0, 8ull << 30, RW, MAP_SHARED | flags, -1, 0);
  check(sparse != MAP_FAILED && sparse_shared != MAP_FAILED);
  for (int i = 0; i < 14; i++) fill_known(sparse + i * STEP, PAGE, 50 + i);
}

/* Each changes a third, and has the changes of its ancestors. */
static uint64_t sparse_seed(int i) { return i % 3 > 0 && i % 3 <= me ? 1000 * (i % 3) + i : 50 + i; }

static void own_sparse(void) {
  for (int i = 0; i < 14; i++)
    if (me && i % 3 == me) fill_known(sparse + i * STEP, PAGE, sparse_seed(i));
  fill_known(sparse_shared + me * (1ull << 30), PAGE, 70 + me);
}

static void verify_sparse(void) {
  for (int i = 0; i < 14; i++) {
    check(differs_known(sparse + i * STEP, PAGE, sparse_seed(i)) < 0, "page %d of member %d", i, me);
    check(!touched(sparse + i * STEP + (1 << 30)), "%d", i);
  }
  for (int m = 0; m <= LAST; m++) check(differs_known(sparse_shared + m * (1ull << 30), PAGE, 70 + m) < 0, "%d", m);
}

/* ---- the heap, grown by each for itself ---- */

static unsigned char *heap;
static size_t heap_bytes;

static void grow_heap(size_t bytes) {
  unsigned char *end = sbrk(bytes);
  check(end != (void *)-1 && (!heap || end == heap + heap_bytes));
  if (!heap) heap = end;
  heap_bytes += bytes;
  fill_known(heap, heap_bytes, 60 + me);
}

static void set_heap(void) { grow_heap(64 * PAGE); }
static void own_heap(void) { grow_heap((10 + 30 * me) * PAGE); }

static void verify_heap(void) {
  check(differs_known(heap, heap_bytes, 60 + me) < 0 && sbrk(0) == heap + heap_bytes, "heap of member %d", me);
}

static void end_heap(void) {
  grow_heap(100 * PAGE);
  verify_heap();
  check(sbrk(-(intptr_t)heap_bytes / 2) != (void *)-1 && !readable(heap + heap_bytes - PAGE));
}

/* ---- all of them ---- */

static const struct {
  const char *name;
  void (*set)(void), (*own)(void), (*verify)(void), (*end)(void);
} kinds[] = {{"anon", set_anon, own_anon, 0, end_anon},
             {"memfd", set_memfd, own_memfd, 0, end_memfd},
             {"future", set_future, 0, 0, end_future},
             {"huge", set_huge, 0, 0, 0},
             {"shm", set_shm, 0, 0, 0},
             {"nameless", set_nameless, 0, 0, 0},
             {"deleted", set_deleted, 0, 0, 0},
             {"growing", set_growing, own_growing, verify_growing, end_growing},
             {"advice", set_advice, own_advice, verify_advice, end_advice},
             {"sparse", set_sparse, own_sparse, verify_sparse, 0},
             {"heap", set_heap, own_heap, verify_heap, end_heap}};
#define KINDS (sizeof kinds / sizeof *kinds)
static bool chosen[KINDS];

static void all(size_t part) {
  for (size_t k = 0; k < KINDS; k++) {
    void (*work)(void);
    memcpy(&work, (const char *)&kinds[k] + part, sizeof work);
    if (chosen[k] && work) work();
  }
}

static void verify(void) {
  verify_channels();
  all(offsetof(typeof(*kinds), verify));
}

/* What each changes at the end, others are not to see before they have looked for the last time. */
static void end(void) {
  atomic_fetch_add(&family->word[0], 1);
  futex(&family->word[0], FUTEX_WAKE, INT_MAX, 0);
  await(&family->word[0], LAST + 1);
  all(offsetof(typeof(*kinds), end));
}

/* The line of descent; answers in each of them. */
static void descend(void) {
  for (me = 0; me < LAST; me++) {
    if (me > 0) all(offsetof(typeof(*kinds), own));
    pid_t pid = fork();
    check(pid >= 0);
    if (pid > 0) break;
  }
  if (me < LAST) family_await(me + 1, BORN);
  if (me == 0 || me == LAST) all(offsetof(typeof(*kinds), own));
  family_born(me);
}

int main(int argc, char **argv) {
  family_found(LAST + 1);
  for (size_t k = 0; k < KINDS; k++) {
    chosen[k] = argc < 2;
    for (int i = 1; i < argc; i++) chosen[k] |= !strcmp(argv[i], kinds[k].name);
  }
  all(offsetof(typeof(*kinds), set));
  descend();
  family_live_and(verify, end);
}
