/*
 * A tree whose members never rested: those made last made most of the others, as children or as siblings; many began
 * sessions, some ended, and their children went to whoever was a subreaper just then. All from one number.
 *
 *     restless SIZE SEED
 */
#include "family.h"

enum { NOTHING, FORK, SIBLING, SETSID, REAP, REAP_NOT, END };

/* What a member is to do next; it answers by making it NOTHING again. */
typedef struct {
  _Atomic int32_t order;
  int32_t child; /* the number of the one that is to be made */
} Orders;
static Orders *orders;
static bool *ended;

static uint64_t state;
static int roll(int sides) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (state >> 33) % sides;
}

static bool reaper;
static void verify(void) {
  int is;
  check(!prctl(PR_GET_CHILD_SUBREAPER, &is) && is == reaper, "member %d: %d", me, is);
}

static void serve(int member);

static void make(int member, unsigned long flags) {
  pid_t pid = syscall(SYS_clone, flags | SIGCHLD, 0l, 0l, 0l, 0l);
  check(pid >= 0);
  if (pid == 0) {
    reaper = false;
    serve(member);
  }
  family_await(member, BORN);
}

static void obey(int order, int child) {
  switch (order) {
    case FORK: return make(child, 0);
    case SIBLING: return make(child, CLONE_PARENT);
    case SETSID:
      if (getsid(0) != getpid()) check(setsid() == getpid());
      return;
    case REAP:
    case REAP_NOT:
      reaper = order == REAP;
      check(!prctl(PR_SET_CHILD_SUBREAPER, reaper));
      return;
    default: check(false, "%d", order);
  }
}

/* Does as it is told until all have been made, and lives then. */
__attribute__((noreturn)) static void serve(int member) {
  family_born(member);
  for (_Atomic int32_t *order = &orders[member].order; !atomic_load(&family->settle);) {
    int now = atomic_load(order);
    if (now == END) {
      family->member[me].quiet = SILENT;
      tell(&family->member[me].stage, DONE);
      _exit(0);
    }
    if (now == NOTHING) futex(order, FUTEX_WAIT, NOTHING, &(struct timespec){.tv_nsec = 20000000});
    else {
      obey(now, orders[member].child);
      tell(order, NOTHING);
    }
  }
  family_live(verify);
}

static void command(int member, int order, int child) {
  orders[member].child = child;
  tell(&orders[member].order, order);
  if (order == END) {
    ended[member] = true;
    family_await(member, DONE);
    while (process_state(pid_of(member)) != 'Z') victim_nap(1);
    return;
  }
  for (int is; (is = atomic_load(&orders[member].order)) != NOTHING;) futex(&orders[member].order, FUTEX_WAIT, is, 0);
}

int main(int argc, char **argv) {
  check(argc == 3);
  int size = atoi(argv[1]);
  state = strtoul(argv[2], 0, 10);
  family_found(size);
  orders = mmap(0, size * sizeof *orders, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ended = calloc(size, sizeof *ended);
  check(orders != MAP_FAILED && ended);
  family_born(0);
  check(!prctl(PR_SET_CHILD_SUBREAPER, 1));
  pid_t pid = fork();
  check(pid >= 0);
  if (pid == 0) serve(1);
  reaper = true;
  family_await(1, BORN);
  for (int made = 2; made < size;) {
    int dice = roll(31);
    if (dice < 10) {
      int youngest = 1 + (made - 1) * 9 / 10 + roll(made - 1) / 10;
      if (youngest >= made) youngest = made - 1;
      while (ended[youngest]) youngest--;
      command(youngest, roll(2) ? FORK : SIBLING, made++);
      continue;
    }
    /* The first of them makes others if nobody else is left. */
    int member = 1 + roll(made - 1), chance = roll(2);
    if (ended[member]) continue;
    if (dice < 17) command(member, SETSID, 0);
    else if (member > 1) command(member, dice >= 27 ? END : chance ? REAP : REAP_NOT, 0);
  }
  family_live(verify);
}
