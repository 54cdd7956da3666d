/*
 * What is mapped later is locked: all of it at once, "onfault", or "none" of it.
 */
#include "victim.h"
#include <string.h>

/* The flags of the mapping at an address. */
static void flags_of(const void *at, char *flags, size_t size) {
  char want[20];
  static char text[1 << 18];
  int fd = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC), length = 0, n;
  check(fd >= 0);
  while ((n = read(fd, text + length, sizeof text - 1 - length)) > 0) length += n;
  text[length] = 0;
  close(fd);
  snprintf(want, sizeof want, "\n%lx-", (unsigned long)at);
  char *found = strstr(text, want);
  check(found && (found = strstr(found, "VmFlags:")));
  snprintf(flags, size, "%.*s", (int)strcspn(found, "\n"), found);
}

static bool locked, on_fault;

static void verify(void) {
  char flags[200];
  /* Between others that differ, so that it stays one of its own. */
  unsigned char *room = mmap(0, 3 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), resident = 9;
  check(room != MAP_FAILED && !munmap(room + PAGE, PAGE));
  void *at = mmap(room + PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  check(at == room + PAGE);
  flags_of(at, flags, sizeof flags);
  check(!!strstr(flags, " lo") == locked, "%s", flags);
  check(!mincore(at, PAGE, &resident) && resident == (locked && !on_fault), "%d", resident);
  check(!munmap(room, 3 * PAGE));
}

int main(int argc, char **argv) {
  const char *how = argc > 1 ? argv[1] : "";
  on_fault = !strcmp(how, "onfault");
  locked = strcmp(how, "none");
  if (locked) check(!mlockall(MCL_FUTURE | (on_fault ? MCL_ONFAULT : 0)));
  victim_ready();
  victim_loop(verify);
}
