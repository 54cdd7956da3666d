/* The heap and the stack: brk goes on where it was; the stack keeps its contents and grows on. */
#include "victim.h"

static unsigned char *start, *end;
static Layout layout;

static void verify(void) {
  check(sbrk(0) == end);
  check(differs_known(start, end - start, 42) < 0);
}

/* Uses `depth` pages of stack and answers a sum over them; the compiler cannot do it in its head. */
__attribute__((noinline)) static uint64_t deep(int depth) {
  volatile uint64_t page[512];
  for (int i = 0; i < 512; i++) page[i] = known_word(depth, i);
  uint64_t sum = depth ? deep(depth - 1) : 0;
  for (int i = 0; i < 512; i++) sum += page[i];
  return sum;
}

int main(void) {
  start = sbrk(0);
  check(sbrk(37 * PAGE + 123 * 8) == start);
  end = sbrk(0);
  fill_known(start, end - start, 42);
  uint64_t local[64];
  fill_known(local, sizeof local, 43);
  uint64_t sum = deep(20);
  read_layout(&layout);
  victim_ready();
  while (!victim_asked()) {
    verify();
    victim_nap(5);
  }
  same_layout(&layout);
  verify();
  check(differs_known(local, sizeof local, 43) < 0);
  check(sbrk(5 * PAGE) == end && all_zero(end, 5 * PAGE), "the heap grows on, with zeroes");
  check(sbrk(-10 * (long)PAGE) == end + 5 * PAGE && sbrk(0) == end - 5 * PAGE);
  check(deep(20) == sum);
  check(deep(300) != 0, "the stack grows on");
  victim_pass();
}
