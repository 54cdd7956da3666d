/*
 * Runs a command with what processes inherit set otherwise than usual: no huge pages, merged memory, a core dump
 * filter, timer slack, one CPU, an I/O priority, a personality.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv) {
  cpu_set_t first;
  CPU_ZERO(&first);
  CPU_SET(0, &first);
  prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
  prctl(67 /* PR_SET_MEMORY_MERGE */, 1, 0, 0, 0);
  prctl(PR_SET_TIMERSLACK, 99999, 0, 0, 0);
  personality(ADDR_NO_RANDOMIZE | UNAME26);
  sched_setaffinity(0, sizeof first, &first);
  syscall(SYS_ioprio_set, 1, 0, 3 << 13);
  int fd = open("/proc/self/coredump_filter", O_WRONLY);
  dprintf(fd, "0x7");
  close(fd);
  if (argc > 1) execvp(argv[1], argv + 1);
  return 127;
}
