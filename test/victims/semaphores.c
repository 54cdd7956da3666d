/* A semaphore of the machine's, taken with SEM_UNDO: given back by the kernel when the process is gone. */
#include "victim.h"
#include <sys/ipc.h>
#include <sys/sem.h>

int main(void) {
  int set = semget(IPC_PRIVATE, 2, 0600);
  struct sembuf take = {1, -1, SEM_UNDO};
  check(set >= 0 && !semctl(set, 1, SETVAL, 3) && !semop(set, &take, 1) && semctl(set, 1, GETVAL) == 2);
  victim_ready();
  victim_wait();
  int value = semctl(set, 1, GETVAL);
  check(!semctl(set, 0, IPC_RMID));
  check(value == 3, "the semaphore is %d", value);
  victim_pass();
}
