/*
 * Wants to be told of its parent's end by a signal that ends it (PR_SET_PDEATHSIG), as does a thread of it, and as does
 * a child. Says in the file "signals" what they are at the end.
 */
#include "family.h"
#include <pthread.h>

static _Atomic int32_t of_thread = -1;

static int death_signal(void) {
  int signal = -1;
  check(!prctl(PR_GET_PDEATHSIG, &signal));
  return signal;
}

static void *other(void *none) {
  (void)none;
  check(!prctl(PR_SET_PDEATHSIG, SIGUSR1));
  for (;; victim_nap(2)) tell(&of_thread, death_signal());
  return 0;
}

static void verify(void) {
  if (me == 1) check(death_signal() == SIGUSR2);
  if (me == 0) check(of_thread >= 0);
}

static void last(void) {
  if (me != 0) return;
  of_thread = -1;
  await(&of_thread, 0);
  FILE *file = fopen("signals", "w");
  check(file && fprintf(file, "%d %d\n", death_signal(), of_thread) > 0 && !fclose(file));
}

int main(void) {
  family_found(2);
  pthread_t thread;
  int number = fork() ? 0 : 1;
  check(!prctl(PR_SET_PDEATHSIG, number == 0 ? SIGTERM : SIGUSR2));
  if (number == 0) {
    check(!pthread_create(&thread, 0, other, 0));
    await(&of_thread, 1);
  }
  family_born(number);
  family_live_and(verify, last);
}
