/*
 * A semaphore of the machine's, taken with SEM_UNDO by a child: given back by the kernel when the child is gone, and
 * not before. Another one is given and taken back. With the argument OWN both are in an IPC namespace of their own.
 */
#include "family.h"
#include <signal.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/wait.h>

static int set;

static void verify(void) {
  int taken = semctl(set, 1, GETVAL), given = semctl(set, 0, GETVAL);
  check(taken == 2 && given == 9, "the semaphores are %d and %d", taken, given);
}

int main(int argc, char **argv) {
  (void)argv;
  if (argc > 1 && unshare(CLONE_NEWIPC)) skip("no IPC namespace can be made");
  family_found(2);
  set = semget(IPC_PRIVATE, 2, 0600);
  struct sembuf change[] = {{1, -1, SEM_UNDO}, {0, 5, SEM_UNDO}};
  check(set >= 0 && !semctl(set, 1, SETVAL, 3) && !semctl(set, 0, SETVAL, 4));
  pid_t child = fork();
  if (!child) {
    check(!semop(set, change, 2));
    family_born(1);
    family_settle();
    for (;;) pause();
  }
  family_born(0);
  family_settle();
  victim_watch(verify);
  check(!kill(child, SIGKILL) && waitpid(child, 0, 0) == child);
  int taken = semctl(set, 1, GETVAL), given = semctl(set, 0, GETVAL);
  check(taken == 3 && given == 4, "the semaphores are %d and %d at the end", taken, given);
  check(!semctl(set, 0, IPC_RMID));
  victim_pass();
}
