/*
 * Families to measure with; the parent says "ready" when all of it stands.
 *
 *     loads tasks N           N processes: a parent and its children, each with some pages of its own
 *     loads threads N         one process of N threads
 *     loads prefork MIB N     a parent and N children that share MIB mebibytes copy-on-write; each child wrote to one
 *                             page in 64
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096 };
static volatile int *ready; /* shared by all */

static void fill(char *at, size_t pages, long seed) {
  for (size_t i = 0; i < pages; i++) memset(at + i * PAGE, (int)(seed + i * 7) | 1, PAGE);
}

static char *memory(size_t size, int flags) {
  char *at = mmap(0, size, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) perror("mmap"), exit(2);
  return at;
}

static _Noreturn void rest(void) {
  __atomic_add_fetch(ready, 1, __ATOMIC_SEQ_CST);
  for (;;) pause();
}

static void *thread(void *unused) {
  (void)unused;
  rest();
}

static void await(int count) {
  while (__atomic_load_n(ready, __ATOMIC_SEQ_CST) < count) usleep(1000);
  dprintf(1, "ready\n");
}

int main(int argc, char **argv) {
  close_range(3, ~0u, 0);
  if (argc < 3) return 2;
  ready = (int *)memory(PAGE, MAP_SHARED);
  long n = atol(argv[argc - 1]);
  if (!strcmp(argv[1], "threads")) {
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 64 << 10);
    pthread_t id;
    for (long i = 1; i < n; i++)
      if (pthread_create(&id, &attr, thread, 0)) return perror("pthread_create"), 2;
    await((int)n - 1);
    rest();
  }
  int prefork = !strcmp(argv[1], "prefork");
  size_t pages = prefork ? strtoul(argv[2], 0, 10) << 8 : 16;
  char *block = memory(pages * PAGE, MAP_PRIVATE);
  fill(block, pages, 1);
  long children = prefork ? n : n - 1;
  for (long i = 0; i < children; i++) {
    pid_t pid = fork();
    if (pid < 0) return perror("fork"), 2;
    if (pid > 0) continue;
    for (size_t page = 0; page < pages; page += prefork ? 64 : 1) memset(block + page * PAGE, (int)i | 1, PAGE);
    rest();
  }
  await((int)children);
  rest();
}
