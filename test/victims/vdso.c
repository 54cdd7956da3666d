/*
 * The vdso: calls through pointers taken before the dump, and through the library, which has pointers of its own.
 * Clocks must go on, never back, and agree with the system call.
 */
#include "victim.h"
#include <elf.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/time.h>

static int (*v_clock_gettime)(clockid_t, struct timespec *);
static int (*v_gettimeofday)(struct timeval *, void *);
static int (*v_getcpu)(unsigned *, unsigned *, void *);
static time_t (*v_time)(time_t *);
static int (*v_clock_getres)(clockid_t, struct timespec *);

/* Looks a name up in the vdso's dynamic symbols. */
static void *symbol(const char *name) {
  unsigned char *base = (void *)getauxval(AT_SYSINFO_EHDR);
  if (!base) skip("no vdso");
  Elf64_Ehdr *header = (void *)base;
  Elf64_Phdr *segment = (void *)(base + header->e_phoff);
  Elf64_Dyn *dynamic = 0;
  for (int i = 0; i < header->e_phnum; i++)
    if (segment[i].p_type == PT_DYNAMIC) dynamic = (void *)(base + segment[i].p_offset);
  check(dynamic);
  const char *names = 0;
  Elf64_Sym *symbols = 0;
  for (Elf64_Dyn *d = dynamic; d->d_tag; d++) {
    if (d->d_tag == DT_STRTAB) names = (char *)base + d->d_un.d_ptr;
    if (d->d_tag == DT_SYMTAB) symbols = (void *)(base + d->d_un.d_ptr);
  }
  check(names && symbols && (char *)symbols < names);
  for (Elf64_Sym *s = symbols; (char *)s < names; s++)
    if (!strcmp(names + s->st_name, name)) return base + s->st_value;
  return 0;
}

static int64_t nanoseconds(struct timespec t) { return t.tv_sec * 1000000000ll + t.tv_nsec; }

static void verify_clock(clockid_t clock) {
  static int64_t last[16];
  struct timespec before, fast, library, after;
  syscall(SYS_clock_gettime, clock, &before);
  check(v_clock_gettime(clock, &fast) == 0 && clock_gettime(clock, &library) == 0);
  syscall(SYS_clock_gettime, clock, &after);
  check(nanoseconds(before) <= nanoseconds(fast) && nanoseconds(fast) <= nanoseconds(library) &&
            nanoseconds(library) <= nanoseconds(after),
        "clock %d: %ld %ld %ld %ld", clock, (long)nanoseconds(before), (long)nanoseconds(fast),
        (long)nanoseconds(library), (long)nanoseconds(after));
  if (clock != CLOCK_REALTIME) check(nanoseconds(before) >= last[clock], "clock %d went back", clock);
  last[clock] = nanoseconds(after);
}

static void verify(void) {
  static const clockid_t clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_MONOTONIC_RAW};
  for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++) verify_clock(clocks[i]);
  struct timeval day;
  check(v_gettimeofday(&day, 0) == 0);
  int64_t off = (int64_t)day.tv_sec - v_time(0);
  check(off >= -1 && off <= 1);
  unsigned cpu = 4096, node = 4096;
  check(v_getcpu(&cpu, &node, 0) == 0 && cpu < 4096 && node < 4096 && sched_getcpu() >= 0);
  struct timespec resolution = {1, 1};
  check(v_clock_getres(CLOCK_MONOTONIC, &resolution) == 0 && resolution.tv_sec == 0);
}

int main(void) {
  v_clock_gettime = symbol("__vdso_clock_gettime");
  v_gettimeofday = symbol("__vdso_gettimeofday");
  v_getcpu = symbol("__vdso_getcpu");
  v_time = symbol("__vdso_time");
  v_clock_getres = symbol("__vdso_clock_getres");
  check(v_clock_gettime && v_gettimeofday && v_getcpu && v_time && v_clock_getres);
  victim_ready();
  while (!victim_asked()) verify(); /* nearly always inside the vdso */
  verify();
  victim_pass();
}
