/*
 * System V shared memory among relatives: inherited, attached anew at another place, detached by the one who made it,
 * and a segment that only a child is left with and that is to be destroyed. One child waits for a semaphore.
 */
#include "family.h"
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/shm.h>

enum { COUNT = 4, PAGES = 8 };
static int common, doomed;
static _Atomic uint64_t *words, *twin;
static char *doomed_at;

static int make(size_t pages) {
  int id = shmget(IPC_PRIVATE, pages * PAGE, IPC_CREAT | 0600);
  check(id >= 0);
  return id;
}

static void *attach(int id, int flags) {
  void *at = shmat(id, 0, flags);
  check(at != (void *)-1);
  return at;
}

static void verify(void) {
  uint64_t own = atomic_fetch_add(&words[me], 1) + 1;
  if (twin) check(twin[me] == own, "member %d: %lu, %lu", me, (long)twin[me], (long)own);
  check(differs_known((char *)words + PAGE, PAGE, 7) < 0 && all_zero((char *)words + 3 * PAGE, PAGE));
  if (doomed_at) check(differs_known(doomed_at, 2 * PAGE, 8) < 0);
  struct shmid_ds is;
  check(!shmctl(common, IPC_STAT, &is) && is.shm_perm.mode == (SHM_DEST | 0600));
  if (atomic_load(&family->settle) == 2) check(is.shm_nattch == 6, "%lu attached", is.shm_nattch);
  if (me == 0) {
    check(shmctl(doomed, IPC_STAT, &is) == 0 && is.shm_nattch == 1 && is.shm_perm.mode & SHM_DEST);
    /* Everybody is there, and in the same memory. */
    static uint64_t before[COUNT];
    static int turn;
    if (++turn % 100 == 0)
      for (int i = 0; i < COUNT; i++) {
        check(words[i] > before[i], "member %d does not count", i);
        before[i] = words[i];
      }
  }
}

int main(void) {
  family_found(COUNT);
  common = make(PAGES);
  doomed = make(3);
  words = attach(common, 0);
  fill_known((char *)words + PAGE, PAGE, 7);
  doomed_at = attach(doomed, 0);
  fill_known(doomed_at, 2 * PAGE, 8);
  if (!fork()) { /* inherits, and attaches once more for reading */
    check(!shmdt(doomed_at));
    doomed_at = 0;
    twin = attach(common, SHM_RDONLY);
    if (!fork()) { /* its own child has lost what it began with */
      check(!shmdt(words));
      words = attach(common, 0);
      family_born(2);
      family_live(verify);
    }
    family_born(1);
    family_live(verify);
  }
  if (!fork()) {
    family_born(3);
    family_live(verify);
  }
  family_await(1, BORN);
  family_await(2, BORN);
  family_await(3, BORN);
  check(!shmdt(doomed_at) && !shmctl(doomed, IPC_RMID, 0) && !shmctl(common, IPC_RMID, 0));
  doomed_at = 0;
  family_born(0);
  family_live(verify);
}
