/*
 * A tree of processes: who is whose child, in which session and group; each with memory it has from its parent and
 * memory of its own, computing all the time and looking whether another one goes on.
 *
 *     tree chain|wide|mixed|random [COUNT [SEED [THREADS]]]
 *
 * Every fifth process has THREADS (0) threads more, which compute as well.
 */
#include "family.h"
#include <pthread.h>

#define BLOCK 16 /* pages */

static enum { CHAIN, WIDE, MIXED, RANDOM } shape;
static int count = 30, threads;
static uint64_t seed = 1;
static unsigned char *block;
static uint64_t page_seed[BLOCK];
static double series;
static _Atomic uint64_t thread_turns[64];

static int parent_of(int i) {
  if (shape == CHAIN) return i - 1;
  if (shape == WIDE) return 0;
  if (shape == MIXED) return (i - 1) / 3;
  return known_word(seed, i) % i;
}

/* Leibniz' series: a wrong bit in any register shows in the end. */
static double leibniz(void) {
  double sum = 0;
  for (int i = 0; i < 5000; i++) sum += (i & 1 ? -4.0 : 4.0) / (2 * i + 1);
  return sum;
}

static void verify_children(void) {
  static pid_t list[MEMBERS];
  int there = children_of_self(list, MEMBERS), expected = 0;
  for (int i = me + 1; i < count; i++)
    if (parent_of(i) == me) {
      expected++;
      bool found = false;
      for (int k = 0; k < there; k++) found |= list[k] == pid_of(i);
      check(found, "member %d is no child of member %d", i, me);
    }
  check(there == expected, "%d children, not %d", there, expected);
}

static void verify(void) {
  for (int i = 0; i < BLOCK; i++)
    check(differs_known(block + i * PAGE, PAGE, page_seed[i]) < 0, "page %d of member %d", i, me);
  double sum = leibniz();
  check(sum == series, "%.17g, not %.17g", sum, series);
  verify_children();
  char name[16];
  check(!prctl(PR_GET_NAME, name) && atoi(name + 7) == me, "%s", name);
}

static void *compute(void *argument) {
  _Atomic uint64_t *turns = argument;
  for (;;) {
    double sum = leibniz();
    check(sum == series, "%.17g, not %.17g", sum, series);
    ++*turns;
    family_nap();
  }
}

/* The threads go on. */
static void verify_threads(void) {
  if (me % 5) return;
  for (int i = 0; i < threads; i++) {
    uint64_t before = thread_turns[i];
    for (int turn = 0; thread_turns[i] == before; turn++) {
      check(turn < 1000, "thread %d of member %d does not go on", i, me);
      victim_nap(5);
    }
  }
}

/* Takes its place in the tree, and has its children. */
static void grow(int member) {
  uint64_t dice = known_word(seed + 77, member) >> 8;
  if (member > 0 && dice % 4 == 0) check(setsid() == getpid());
  if (member > 0 && dice % 4 == 1) check(!setpgid(0, 0));
  if (member > 0 && dice % 3 == 0) check(!prctl(PR_SET_PDEATHSIG, SIGUSR1 + dice % 2));
  char name[16];
  snprintf(name, sizeof name, "member %d", member);
  prctl(PR_SET_NAME, name);
  /* Some pages are the parent's. */
  for (int i = 0; i < BLOCK; i++)
    if (member == 0 || known_word(member, i) >> 20 & 1) {
      page_seed[i] = member * 100 + i;
      fill_known(block + i * PAGE, PAGE, page_seed[i]);
    }
  me = member;
  for (int i = member + 1; i < count; i++) {
    if (parent_of(i) != member) continue;
    pid_t pid = fork();
    check(pid >= 0);
    if (pid == 0) {
      grow(i);
      return;
    }
  }
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 65536);
  for (int i = 0; i < threads && member % 5 == 0; i++) {
    pthread_t thread;
    check(!pthread_create(&thread, &small, compute, (void *)&thread_turns[i]));
  }
  family_born(member);
}

int main(int argc, char **argv) {
  const char *name = argc > 1 ? argv[1] : "mixed";
  shape = !strcmp(name, "chain") ? CHAIN : !strcmp(name, "wide") ? WIDE : !strcmp(name, "mixed") ? MIXED : RANDOM;
  if (argc > 2) count = atoi(argv[2]);
  if (argc > 3) seed = atoi(argv[3]);
  if (argc > 4) threads = atoi(argv[4]);
  check(count >= 1 && count <= MEMBERS && threads >= 0 && threads <= 64);
  family_found(count);
  block = mmap(0, BLOCK * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  check(block != MAP_FAILED);
  series = leibniz();
  grow(0);
  family_live_and(verify, verify_threads);
}
