/*
 * Processes that have memory, descriptors, a place in the file system or signal actions in common, as clone() makes
 * them. The first one commands the others, servants that do single system calls, and sees what shows where.
 *
 *     sharing [vm] [files] [fs] [sighand]    only servants that share no more than these; by default all
 */
#include "family.h"

#define SERVANTS 17
#define CLONED (CLONE_VM | CLONE_FILES | CLONE_FS | CLONE_SIGHAND)
#define STACK (64 << 10)

/* Who makes whom: the ones before make the ones after. The low byte is the signal at the end. */
static const struct {
  int maker;
  long flags;
} plan[SERVANTS] = {{0, 0},
                    {0, CLONE_VM | SIGCHLD},
                    {0, CLONE_FILES | SIGCHLD},
                    {0, CLONE_FS | SIGUSR2},
                    {0, CLONE_VM | CLONE_SIGHAND | SIGCHLD},
                    {0, CLONE_FILES | CLONE_FS | SIGCHLD},
                    {0, CLONED | SIGCHLD},
                    {0, SIGCHLD},
                    {7, CLONE_VM | CLONE_FILES | SIGCHLD},
                    {7, CLONE_FS | CLONE_FILES | SIGCHLD},
                    {9, CLONE_FS | SIGCHLD},
                    {2, CLONE_FILES | SIGCHLD},
                    {10, CLONE_VM | CLONE_SIGHAND | CLONE_FILES | SIGCHLD},
                    {7, CLONE_PARENT | CLONE_FILES | CLONE_FS | SIGCHLD}, /* its brother has them, its parent has not */
                    {0, 0},                                              /* ends without a signal */
                    {1, CLONE_FS | SIGCHLD},
                    {8, CLONE_VM | CLONE_SIGHAND | SIGCHLD}};

enum { PEEK = -1, POKE = -2, SPAWN = -3 };

typedef struct {
  _Atomic int32_t order, done;
  long call[6];
  long result;
} Servant;

static Servant *servants;
static int there[SERVANTS], pids[SERVANTS], parents[SERVANTS];
static int group[4][SERVANTS]; /* for each kind: the first of those that have it in common */
static const long kinds[4] = {CLONE_VM, CLONE_FILES, CLONE_FS, CLONE_SIGHAND};
static char places[SERVANTS][4096];
static struct {
  uint64_t handler, flags, restorer, mask;
} actions[SERVANTS], action_is;
static long cell;
static int data;

/* A system call without a trace in the C library: servants may share its memory with others. */
static long bare(const long *call) {
  register long r10 __asm__("r10") = call[4], r8 __asm__("r8") = call[5];
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(call[0]), "D"(call[1]), "S"(call[2]), "d"(call[3]), "r"(r10), "r"(r8)
                   : "rcx", "r11", "memory");
  return result;
}

/* clone() with a stack of its own, on which the child calls entry(argument). */
long spawn(long flags, void *stack, void (*entry)(long), long argument);
__asm__("spawn:\n sub $16, %rsi\n mov %rdx, (%rsi)\n mov %rcx, 8(%rsi)\n xor %edx, %edx\n xor %r10d, %r10d\n"
        "mov $56, %eax\n syscall\n test %rax, %rax\n jz 1f\n ret\n"
        "1: pop %rax\n pop %rdi\n xor %ebp, %ebp\n call *%rax\n hlt\n");

static void serve(long m) {
  Servant *own = &servants[m];
  for (;;) {
    const long wait[6] = {SYS_futex, (long)&own->order, FUTEX_WAIT, own->done, 0, 0};
    while (own->order == own->done) bare(wait);
    const long *call = own->call;
    if (call[0] == PEEK) own->result = *(volatile long *)call[1];
    else if (call[0] == POKE) own->result = *(volatile long *)call[1] = call[2];
    else if (call[0] == SPAWN) own->result = spawn(call[1], (void *)call[2], serve, call[3]);
    else
      own->result = bare(call);
    own->done = own->order;
    const long wake[6] = {SYS_futex, (long)&own->done, FUTEX_WAKE, 1, 0, 0};
    bare(wake);
  }
}

/* What servant `m` gets for a call. The first process is a servant of its own. */
static long order(int m, long number, long a, long b, long c, long d) {
  const long call[6] = {number, a, b, c, d, 0};
  Servant *servant = &servants[m];
  memcpy(servant->call, call, sizeof call);
  if (m == 0) return number == PEEK ? *(volatile long *)a : number == POKE ? (*(volatile long *)a = b) : bare(call);
  atomic_fetch_add(&servant->order, 1);
  futex(&servant->order, FUTEX_WAKE, 1, 0);
  if (number == SYS_exit) return 0;
  for (int turn = 0; servant->done != servant->order; turn++) {
    check(turn < 3000 && process_state(pids[m]) != 'Z', "servant %d does not answer", m);
    futex(&servant->done, FUTEX_WAIT, servant->order - 1, &(struct timespec){0, 10000000});
  }
  return servant->result;
}

static bool alike(int kind, int a, int b) { return group[kind][a] == group[kind][b]; }

#define each(n) \
  for (int n = 0; n < SERVANTS; n++) \
    if (there[n])

static void verify_memory(int m) {
  static long mark = 0x1000;
  order(m, POKE, (long)&cell, ++mark, 0, 0);
  each(n) check((order(n, PEEK, (long)&cell, 0, 0, 0) == mark) == alike(0, m, n), "memory of %d and %d", m, n);
}

static void verify_files(int m) {
  long fd = 150 + m;
  check(order(m, SYS_dup2, data, fd, 0, 0) == fd);
  each(n) check((order(n, SYS_fcntl, fd, F_GETFD, 0, 0) >= 0) == alike(1, m, n), "descriptors of %d and %d", m, n);
  check(order(m, SYS_close, fd, 0, 0, 0) == 0);
  /* The file behind descriptors that were there before is one for all. */
  order(m, SYS_lseek, data, 1000 + m, SEEK_SET, 0);
  each(n) check(order(n, SYS_lseek, data, 0, SEEK_CUR, 0) == 1000 + m, "file position of %d and %d", m, n);
}

static void verify_place(int m) {
  static int mask;
  mask = (mask + 1) & 0777;
  order(m, SYS_umask, mask, 0, 0, 0);
  check(order(m, SYS_chdir, (long)places[m], 0, 0, 0) == 0);
  each(n) {
    char path[40], link[4096] = {0}, text[4096];
    unsigned its;
    snprintf(path, sizeof path, "/proc/%d/cwd", pids[n]);
    check(readlink(path, link, sizeof link - 1) > 0);
    check(!strcmp(link, places[m]) == alike(2, m, n), "working directories of %d and %d: %s", m, n, link);
    snprintf(path, sizeof path, "/proc/%d/status", pids[n]);
    slurp(path, text, sizeof text);
    check(sscanf(strstr(text, "Umask:"), "Umask: %o", &its) == 1);
    if (alike(2, m, n)) check((int)its == mask, "umask of %d and %d", m, n);
  }
}

static void verify_actions(int m) {
  static long mark = 0x7000;
  order(m, POKE, (long)&actions[m].handler, ++mark, 0, 0);
  check(order(m, SYS_rt_sigaction, SIGURG, (long)&actions[m], 0, 8) == 0);
  each(n) {
    check(order(n, SYS_rt_sigaction, SIGURG, 0, (long)&action_is, 8) == 0);
    bool same = order(n, PEEK, (long)&action_is.handler, 0, 0, 0) == mark;
    check(same == alike(3, m, n), "signal actions of %d and %d", m, n);
  }
}

static void verify_ids(int m) {
  check(order(m, SYS_getpid, 0, 0, 0, 0) == pids[m], "%d", m);
  if (m) check(order(m, SYS_getppid, 0, 0, 0, 0) == pids[parents[m]], "the parent of %d", m);
}

/* One after the other in the chief role. */
static void verify(void) {
  static int m;
  do m = (m + 1) % SERVANTS;
  while (!there[m]);
  verify_ids(m);
  verify_memory(m);
  verify_files(m);
  verify_place(m);
  verify_actions(m);
  /* As it was before. */
  order(m, SYS_lseek, data, 0, SEEK_SET, 0);
  order(m, SYS_umask, 022, 0, 0, 0);
  order(m, SYS_chdir, (long)places[group[2][m]], 0, 0, 0);
}

static void engage(int m) {
  long maker = plan[m].maker, flags = plan[m].flags;
  char *stack = mmap(0, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  /* Also where the maker has its own memory. */
  if (maker && !alike(0, maker, 0))
    stack = (char *)order(maker, SYS_mmap, 0, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  long pid = maker ? order(maker, SPAWN, flags, (long)(stack + STACK), m, 0) : spawn(flags, stack + STACK, serve, m);
  check(pid > 0, "servant %d: %ld", m, pid);
  there[m] = 1;
  pids[m] = pid;
  parents[m] = flags & CLONE_PARENT ? parents[maker] : maker;
  for (int k = 0; k < 4; k++) group[k][m] = flags & kinds[k] ? group[k][maker] : m;
}

/* The youngest first: parents wait for their children. */
static void dismiss_all(void) {
  for (int m = SERVANTS - 1; m > 0; m--) {
    if (!there[m]) continue;
    order(m, SYS_exit, 0, 0, 0, 0);
    check(order(parents[m], SYS_wait4, pids[m], 0, __WALL, 0) == pids[m], "servant %d is not waited for", m);
    there[m] = 0;
  }
}

static long allowed(int argc, char **argv) {
  static const char *const names[4] = {"vm", "files", "fs", "sighand"};
  long flags = argc < 2 ? CLONED : 0;
  for (int i = 1; i < argc; i++)
    for (int k = 0; k < 4; k++)
      if (!strcmp(argv[i], names[k])) flags |= kinds[k];
  return flags;
}

int main(int argc, char **argv) {
  int fd = open("orders", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  check(fd >= 0 && !ftruncate(fd, PAGE));
  servants = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  check(servants != MAP_FAILED && !close(fd));
  data = open("data", O_RDWR | O_CREAT | O_TRUNC, 0600);
  char here[4000];
  check(data >= 0 && getcwd(here, sizeof here));
  for (int m = 0; m < SERVANTS; m++) {
    snprintf(places[m], sizeof places[m], "%s/place-%d", here, m);
    check(!mkdir(places[m], 0700));
    actions[m].flags = 0x04000000;
  }
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGUSR2);
  sigprocmask(SIG_BLOCK, &ends, 0);
  there[0] = 1;
  pids[0] = getpid();
  long flags = allowed(argc, argv);
  for (int m = 1; m < SERVANTS; m++)
    if (there[plan[m].maker] && !(plan[m].flags & CLONED & ~flags)) engage(m);
  for (int m = 0; m < 2 * SERVANTS; m++) verify();
  victim_ready();
  while (!victim_asked()) {
    verify();
    victim_nap(150);
  }
  for (int m = 0; m < SERVANTS; m++) verify();
  dismiss_all();
  victim_pass();
}
