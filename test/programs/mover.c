/*
 * A server to be migrated: mover ADDRESS PORT MIB PERCENT. It has MIB of memory, of which PERCENT changes each second,
 * and serves one client after the other over TCP: a line is answered by "LINE COUNT" with the number of lines so far.
 * The line "verify" compares all memory with what was written ("good N" or "bad PAGE"), "quit" ends the program.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define RUN 16

static uint64_t (*memory)[PAGE / 8];
static uint32_t *generation;
static size_t pages;
static double per_tick;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static uint64_t stamp(size_t page, uint32_t count, size_t word) {
  return page * 0x9e3779b97f4a7c15u + count * 0xff51afd7ed558ccdu + word;
}

static void write_page(size_t page) {
  uint32_t count = ++generation[page];
  for (size_t word = 0; word < PAGE / 8; word++) memory[page][word] = stamp(page, count, word);
}

/* Every 5 ms a part of the memory, in runs of 64 KiB at places that seem random. */
static void *scribble(void *nothing) {
  (void)nothing;
  uint64_t random = 88172645463325252u;
  double due = 0;
  for (;;) {
    struct timespec tick = {0, 5000000};
    nanosleep(&tick, NULL);
    pthread_mutex_lock(&lock);
    for (due += per_tick; due >= RUN; due -= RUN) {
      random ^= random << 13, random ^= random >> 7, random ^= random << 17;
      size_t first = random % (pages / RUN) * RUN;
      for (size_t page = first; page < first + RUN; page++) write_page(page);
    }
    pthread_mutex_unlock(&lock);
  }
  return NULL;
}

static long first_bad(void) {
  long bad = -1;
  pthread_mutex_lock(&lock);
  for (size_t page = 0; page < pages && bad < 0; page++)
    for (size_t word = 0; word < PAGE / 8; word++)
      if (memory[page][word] != stamp(page, generation[page], word)) bad = (long)page;
  pthread_mutex_unlock(&lock);
  return bad;
}

static void serve(int client) {
  static unsigned long count;
  char line[256];
  size_t used = 0;
  for (;;) {
    ssize_t got = read(client, line + used, sizeof line - 1 - used);
    if (got <= 0) return;
    used += got;
    line[used] = 0;
    for (char *end; (end = strchr(line, '\n'));) {
      *end = 0;
      char answer[300];
      int length;
      if (strcmp(line, "quit") == 0) exit(0);
      if (strcmp(line, "verify") == 0) {
        long bad = first_bad();
        length = snprintf(answer, sizeof answer, bad < 0 ? "good %ld\n" : "bad %ld\n", bad < 0 ? (long)pages : bad);
      } else length = snprintf(answer, sizeof answer, "%s %lu\n", line, ++count);
      if (write(client, answer, length) != length) return;
      used -= end + 1 - line;
      memmove(line, end + 1, used + 1);
    }
    if (used == sizeof line - 1) return;
  }
}

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  pages = (size_t)atol(argv[3]) << 8;
  per_tick = pages * atof(argv[4]) / 100 / 200;
  size_t size = pages * PAGE;
  memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  generation = calloc(pages, sizeof *generation);
  if (memory == MAP_FAILED || !generation) return 3;
  for (size_t page = 0; page < pages; page++) write_page(page);
  int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
  if (inet_pton(AF_INET, argv[1], &address.sin_addr) != 1) return 4;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (void *)&address, sizeof address) || listen(listener, 8)) return 5;
  pthread_t thread;
  if (pthread_create(&thread, NULL, scribble, NULL)) return 6;
  printf("READY %d\n", getpid());
  fflush(stdout);
  for (;;) {
    int client = accept(listener, NULL, NULL);
    if (client < 0) continue;
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    serve(client);
    close(client);
  }
}
