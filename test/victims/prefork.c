/*
 * A parent with much memory, and workers forked from it that have it in common with it, copy-on-write, but for the
 * little each has changed. They take jobs from memory they share, under futexes: checksums over what all have and over
 * what is their own.
 *
 *     prefork [MEBIBYTES [WORKERS [PERCENT]]]    64, 4, 3
 */
#include "family.h"

#define JOBS 64

/* In shared anonymous memory. */
typedef struct {
  _Atomic int32_t lock; /* 0 free, 1 locked, 2 locked and waited for */
  _Atomic int32_t round, left;
  int32_t next;
  struct {
    uint64_t page, sum;
    int32_t worker, taken;
  } job[JOBS];
  uint64_t jobs_of[MEMBERS];
} Desk;

static Desk *desk;
static unsigned char *block;
static size_t pages;
static int workers = 4, percent = 3;

static void lock(void) {
  int32_t is = 0;
  if (atomic_compare_exchange_strong(&desk->lock, &is, 1)) return;
  while (atomic_exchange(&desk->lock, 2)) futex(&desk->lock, FUTEX_WAIT, 2, 0);
}

static void unlock(void) {
  if (atomic_exchange(&desk->lock, 0) == 2) futex(&desk->lock, FUTEX_WAKE, 1, 0);
}

/* Whether a member has changed a page, and what the page holds with it. */
static bool own(int member, size_t page) { return member && known_word(900 + member, page) % 100 < (unsigned)percent; }
static uint64_t seed_of(int member, size_t page) { return 77 + (own(member, page) ? 100000000u * member : 0) + page; }

static uint64_t sum_of(const void *at) {
  const uint64_t *word = at;
  uint64_t sum = 0;
  for (size_t i = 0; i < PAGE / 8; i++) sum = sum * 31 + word[i];
  return sum;
}

static void verify_page(size_t page) {
  long at = differs_known(block + page * PAGE, PAGE, seed_of(me, page));
  check(at < 0, "page %zu of member %d, offset %ld", page, me, at);
}

/* A piece of the block at each turn. */
static void verify_block(void) {
  static size_t next;
  for (int i = 0; i < 64; i++, next = (next + 1) % pages) verify_page(next);
}

/* Takes a job, if there is one. */
static bool work_once(void) {
  lock();
  int j = desk->next < JOBS && desk->left ? desk->next++ : -1;
  if (j >= 0) {
    check(!desk->job[j].taken, "job %d", j);
    desk->job[j].taken = 1;
    desk->jobs_of[me]++;
  }
  unlock();
  if (j < 0) return false;
  desk->job[j].sum = sum_of(block + desk->job[j].page * PAGE);
  desk->job[j].worker = me;
  if (atomic_fetch_sub(&desk->left, 1) == 1) futex(&desk->left, FUTEX_WAKE, INT_MAX, 0);
  return true;
}

static void verify_worker(void) {
  int32_t round = desk->round;
  while (work_once()) {
  }
  verify_block();
  /* Until there is more, or a little while. */
  futex(&desk->round, FUTEX_WAIT, round, &(struct timespec){0, 20000000});
}

/* Hands out jobs, waits until they are done, and does them again. */
static void verify_parent(void) {
  static uint64_t dice;
  static unsigned char page[PAGE];
  if (family_asked()) return; /* the workers may be gone */
  lock();
  for (int j = 0; j < JOBS; j++) {
    desk->job[j].page = known_word(3, dice++) % pages;
    desk->job[j].taken = 0;
  }
  desk->left = JOBS;
  desk->next = 0;
  unlock();
  atomic_fetch_add(&desk->round, 1);
  futex(&desk->round, FUTEX_WAKE, INT_MAX, 0);
  int32_t left;
  for (int turn = 0; (left = desk->left) > 0; turn++) {
    check(turn < 1000, "%d jobs are not done", left);
    futex(&desk->left, FUTEX_WAIT, left, &(struct timespec){0, 20000000});
  }
  check(left == 0);
  for (int j = 0; j < JOBS; j++) {
    size_t number = desk->job[j].page;
    fill_known(page, PAGE, seed_of(desk->job[j].worker, number));
    check(desk->job[j].sum == sum_of(page), "page %zu by worker %d", number, desk->job[j].worker);
  }
  verify_block();
}

/* Everything, page by page: reading makes no copies. On a busy machine a worker may never be in time for a job. */
static void verify_all(void) {
  for (size_t page = 0; page < pages; page++) verify_page(page);
  long done = 0;
  for (int m = 1; m <= workers; m++) done += desk->jobs_of[m];
  check(done > 0, "no worker ever worked");
}

int main(int argc, char **argv) {
  pages = (argc > 1 ? strtoul(argv[1], 0, 10) : 64) << 8;
  if (argc > 2) workers = atoi(argv[2]);
  if (argc > 3) percent = atoi(argv[3]);
  family_found(workers + 1);
  desk = mmap(0, sizeof *desk, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  block = mmap(0, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  check(desk != MAP_FAILED && block != MAP_FAILED);
  /* What is said about memory is about pages of the common size. */
  madvise(block, pages * PAGE, MADV_NOHUGEPAGE);
  for (size_t page = 0; page < pages; page++) fill_known(block + page * PAGE, PAGE, seed_of(0, page));
  for (int m = 1; m <= workers; m++) {
    pid_t pid = fork();
    check(pid >= 0);
    if (pid == 0) {
      me = m;
      for (size_t page = 0; page < pages; page++)
        if (own(m, page)) fill_known(block + page * PAGE, PAGE, seed_of(m, page));
      family_born(m);
      family_live_and(verify_worker, verify_all);
    }
  }
  for (int m = 1; m <= workers; m++) family_await(m, BORN);
  family_born(0);
  family_live_and(verify_parent, verify_all);
}
