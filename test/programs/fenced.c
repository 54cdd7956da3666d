/*
 * Threads behind seccomp: in strict mode, behind a filter that ends the process for nearly everything, behind one that
 * refuses some calls, and without. All of them count their turns, 8 bytes each, in the file "turns".
 *
 *     fenced
 */
#include "../victims/victim.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>

#define EACH 3
static uint64_t *turns;
static int pipes[4 * EACH][2];

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(what) BPF_STMT(BPF_RET | BPF_K, what)
#define ON(nr, what) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), RETURN(what)

static struct sock_filter tight[] = {
    LOAD(arch),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
    RETURN(SECCOMP_RET_KILL_PROCESS),
    LOAD(nr),
    ON(SYS_read, SECCOMP_RET_ALLOW),
    ON(SYS_write, SECCOMP_RET_ALLOW),
    ON(SYS_rt_sigreturn, SECCOMP_RET_ALLOW),
    ON(SYS_restart_syscall, SECCOMP_RET_ALLOW),
    ON(SYS_nanosleep, SECCOMP_RET_ALLOW),
    RETURN(SECCOMP_RET_KILL_PROCESS),
};
static struct sock_filter loose[] = {
    LOAD(nr),
    ON(SYS_sigaltstack, SECCOMP_RET_ERRNO | 1),
    ON(SYS_prctl, SECCOMP_RET_ERRNO | 1),
    RETURN(SECCOMP_RET_ALLOW),
};

static void fence(struct sock_filter *filter, int length) {
  struct sock_fprog program = {length, filter};
  check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  check(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0);
}

/* Nothing but read from here on. */
static void *live(void *argument) {
  long index = (long)argument;
  if (index % 4 == 1) check(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) == 0);
  if (index % 4 == 2) fence(tight, sizeof tight / sizeof *tight);
  if (index % 4 == 3) fence(loose, sizeof loose / sizeof *loose);
  for (unsigned char seen = 0;; seen++) {
    unsigned char byte;
    if (read(pipes[index][0], &byte, 1) != 1 || byte != seen) __builtin_trap();
    turns[index]++;
  }
}

int main(void) {
  int file = open("turns", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  check(ftruncate(file, 4 * EACH * 8) == 0);
  turns = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  check(turns != MAP_FAILED);
  for (long i = 0; i < 4 * EACH; i++) {
    pthread_t thread;
    check(pipe2(pipes[i], O_CLOEXEC) == 0 && pthread_create(&thread, 0, live, (void *)i) == 0);
  }
  for (unsigned char sent = 0;; sent++) {
    for (int i = 0; i < 4 * EACH; i++) check(write(pipes[i][1], &sent, 1) == 1);
    for (int i = 0; i < 4 * EACH; i++)
      while ((unsigned char)turns[i] == sent) victim_nap(1);
    if (sent == 10 && turns[0] == 11) victim_ready();
    if (victim_asked()) victim_pass();
    victim_nap(2);
  }
}
