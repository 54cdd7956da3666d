/* keys: a process with a key in a keyring of its own, and one in that of its thread. Says "READY" and goes on. */
#define _GNU_SOURCE
#include <linux/keyctl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void) {
  long of_process = syscall(SYS_add_key, "user", "stasis-test", "secret", 6, KEY_SPEC_PROCESS_KEYRING);
  long of_thread = syscall(SYS_add_key, "user", "stasis-test", "secret", 6, KEY_SPEC_THREAD_KEYRING);
  puts(of_process < 0 || of_thread < 0 ? "SKIP: no keys here" : "READY");
  fflush(stdout);
  for (;;) pause();
}
