/*
 * Holds a known block of memory and counts: one line a turn, the sum of the block at each.
 *
 *     eatmem MEBIBYTES MILLISECONDS LAST
 *
 * Ends after LAST with "done", or at once with "memory is damaged". The demo and the benchmarks use it.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static uint64_t mix(uint64_t x) {
  x = (x ^ x >> 31) * 0x7fb5d329728ea185u;
  return x ^ x >> 27;
}

int main(int argc, char **argv) {
  close_range(3, ~0u, 0); /* what the caller left open is nothing to a program that lives on its own */
  size_t words = (argc > 1 ? strtoul(argv[1], 0, 10) : 64) << 17;
  long pause_ms = argc > 2 ? atol(argv[2]) : 1000, last = argc > 3 ? atol(argv[3]) : 1000000000;
  uint64_t *block = mmap(0, words * 8 + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (block == MAP_FAILED) return perror("mmap"), 2;
  for (size_t i = 0; i < words; i++) block[i] = mix(i + 1);
  for (long count = 1; count <= last; count++) {
    size_t bad = 0;
    for (size_t i = 0; i < words; i++) bad += block[i] != mix(i + 1);
    if (bad) {
      dprintf(1, "%ld: memory is damaged: %zu words are wrong\n", count, bad);
      return 1;
    }
    dprintf(1, "%ld\n", count);
    struct timespec t = {pause_ms / 1000, pause_ms % 1000 * 1000000};
    nanosleep(&t, 0);
  }
  dprintf(1, "done\n");
  return 0;
}
