/* What the kernel knows of a thread's memory: robust list, clear-tid word, rseq area; restartable sequences at work. */
#include "victim.h"
#include <sched.h>
#include <sys/prctl.h>
#include <sys/rseq.h>

static void *list_was, *tid_was;
static size_t length_was;
static volatile long commits, aborts;

static struct rseq *area(void) { return (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset); }

static void words(void **list, size_t *length, void **tid) {
  check(!syscall(SYS_get_robust_list, 0, list, length));
  check(!prctl(PR_GET_TID_ADDRESS, tid));
}

/*
 * A long critical section: counts to a hundred thousand, and looks whether the kernel still watches over it. Answers 1
 * when it came through, 0 when it was aborted, 2 when it was interrupted and went on unwatched.
 */
static int section(void) {
  struct rseq *rseq = area();
  int outcome;
  __asm__ volatile(
      ".pushsection __rseq_section, \"aw\"\n .balign 32\n"
      "3: .long 0, 0\n .quad 1f, 2f - 1f, 4f\n .popsection\n"
      "leaq 3b(%%rip), %%rax\n"
      "movq %%rax, 8(%[rseq])\n"
      "1:\n"
      "movl $100000, %%ecx\n"
      "5: decl %%ecx\n jnz 5b\n"
      "movl $1, %[outcome]\n"
      "cmpq %%rax, 8(%[rseq])\n"
      "je 2f\n"
      "movl $2, %[outcome]\n"
      "2:\n"
      "jmp 6f\n"
      ".byte 0x0f, 0xb9, 0x3d\n .long %c[signature]\n" /* ud1 <signature>(%rip), %edi */
      "4: movl $0, %[outcome]\n"
      "6:\n"
      : [outcome] "=&r"(outcome)
      : [rseq] "r"(rseq), [signature] "i"(RSEQ_SIG)
      : "rax", "rcx", "memory", "cc");
  return outcome;
}

static void verify(void) {
  void *list, *tid;
  size_t length;
  words(&list, &length, &tid);
  check(list == list_was && length == length_was && tid == tid_was);
  /* The kernel tells the CPU in the area: so it is registered. */
  cpu_set_t had, one;
  check(!sched_getaffinity(0, sizeof had, &had));
  for (int cpu = 0; cpu < 2; cpu++) {
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    if (sched_setaffinity(0, sizeof one, &one)) continue;
    check(((volatile struct rseq *)area())->cpu_id == (unsigned)cpu, "%u", area()->cpu_id);
  }
  check(!sched_setaffinity(0, sizeof had, &had));
  for (int i = 0; i < 200; i++) {
    int outcome = section();
    check(outcome != 2, "a critical section went on after it was left");
    if (outcome) commits++;
    else aborts++;
  }
}

int main(void) {
  if (__rseq_size == 0) skip("libc has registered no rseq area");
  words(&list_was, &length_was, &tid_was);
  verify();
  check(commits > 0);
  victim_ready();
  while (!victim_asked()) verify();
  verify();
  victim_pass();
}
