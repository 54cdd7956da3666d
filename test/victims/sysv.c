/*
 * System V shared memory: segments attached as a whole, for reading only, twice, in part, in pieces that have moved;
 * one that is to be destroyed, one with a length that is no number of pages. sysv STAYS leaves its segments behind when
 * it passes.
 */
#include "victim.h"
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/wait.h>

#ifndef SHM_EXEC
#define SHM_EXEC 0100000
#endif
#ifndef SHM_DEST
#define SHM_DEST 01000
#define SHM_LOCKED 02000
#endif

enum { WHOLE = 16, ODD = 5000 };
static int keyed, odd, doomed, huge = -1;
static char *whole, *again, *parts, *moved, *odd_at, *doomed_at, *huge_at;
static Layout layout;
static struct shmid_ds was[3];

static void same_segment(int id, const struct shmid_ds *before) {
  struct shmid_ds is;
  check(!shmctl(id, IPC_STAT, &is));
  check(is.shm_perm.__key == before->shm_perm.__key && is.shm_segsz == before->shm_segsz &&
            is.shm_perm.mode == before->shm_perm.mode && is.shm_perm.uid == before->shm_perm.uid &&
            is.shm_perm.gid == before->shm_perm.gid,
        "segment %d: key %x, %zu bytes, mode %o, uid %u", id, is.shm_perm.__key, is.shm_segsz, is.shm_perm.mode,
        is.shm_perm.uid);
  check(is.shm_nattch == before->shm_nattch, "segment %d: %lu attached, were %lu", id, is.shm_nattch,
        before->shm_nattch);
}

static void verify(void) {
  check(differs_known(whole, 2 * PAGE, 1) < 0 && differs_known(again, 2 * PAGE, 1) < 0);
  whole[4 * PAGE]++;
  check(again[4 * PAGE] == whole[4 * PAGE] && parts[4 * PAGE] == whole[4 * PAGE]);
  whole[9 * PAGE + 1]++;
  check(moved[1] == whole[9 * PAGE + 1]);
  check(all_zero(whole + 12 * PAGE, 4 * PAGE));
  check(differs_known(odd_at, PAGE, 2) < 0 && !strcmp(odd_at + ODD - 8, "the end"));
  check(differs_known(doomed_at, PAGE, 3) < 0);
  if (huge_at) check(differs_known(huge_at, 3 * PAGE, 4) < 0 && all_zero(huge_at + 3 * PAGE, PAGE));
  same_segment(keyed, &was[0]);
  same_segment(odd, &was[1]);
  same_segment(doomed, &was[2]);
  same_layout(&layout);
}

static int make(key_t key, size_t size, int flags) {
  int id = shmget(key, size, IPC_CREAT | IPC_EXCL | flags);
  check(id >= 0, "key %x", key);
  return id;
}

static char *attach(int id, void *at, int flags) {
  char *got = shmat(id, at, flags);
  check(got != (void *)-1);
  return got;
}

static void set_up(void) {
  key_t key = 0x57a50000 | (getpid() & 0xffff);
  keyed = make(key, WHOLE * PAGE, 0640);
  struct shmid_ds ds = {.shm_perm = {.uid = 42, .gid = 43, .mode = 0604}};
  check(!shmctl(keyed, IPC_SET, &ds));
  whole = attach(keyed, 0, 0);
  fill_known(whole, 2 * PAGE, 1);
  again = attach(keyed, 0, SHM_RDONLY);
  parts = attach(keyed, 0, 0);
  check(!mprotect(parts, PAGE, PROT_NONE) && !mprotect(parts + 4 * PAGE, PAGE, PROT_READ));
  check(!munmap(parts + 6 * PAGE, 2 * PAGE) && !madvise(parts + 10 * PAGE, PAGE, MADV_DONTFORK));
  char *room = mmap(0, 3 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  moved = mremap(parts + 9 * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, room + PAGE);
  check(moved == room + PAGE);
  check(!mlock(parts + 12 * PAGE, PAGE));
  odd = make(key ^ 0x01000000, ODD, 0600);
  odd_at = attach(odd, 0, SHM_EXEC);
  fill_known(odd_at, PAGE, 2);
  strcpy(odd_at + ODD - 8, "the end");
  doomed = make(IPC_PRIVATE, 3 * PAGE, 0666);
  doomed_at = attach(doomed, 0, 0);
  fill_known(doomed_at, PAGE, 3);
  check(!shmctl(doomed, SHM_LOCK, 0) && !shmctl(doomed, IPC_RMID, 0));
  huge = shmget(key ^ 0x02000000, 4 << 20, IPC_CREAT | IPC_EXCL | SHM_HUGETLB | 0600);
  if (huge >= 0) {
    huge_at = attach(huge, 0, 0);
    fill_known(huge_at, 3 * PAGE, 4);
  }
  check(!shmctl(keyed, IPC_STAT, &was[0]) && !shmctl(odd, IPC_STAT, &was[1]) && !shmctl(doomed, IPC_STAT, &was[2]));
}

int main(int argc, char **argv) {
  (void)argv;
  set_up();
  read_layout(&layout);
  victim_ready();
  victim_watch(verify);
  pid_t child = fork();
  if (child == 0) {
    whole[5 * PAGE] = 77;
    _exit(0);
  }
  int status;
  check(waitpid(child, &status, 0) == child && status == 0 && again[5 * PAGE] == 77);
  check(!shmdt(again) && !shmdt(odd_at) && !shmdt(whole));
  if (argc < 2) {
    shmctl(keyed, IPC_RMID, 0);
    shmctl(odd, IPC_RMID, 0);
    if (huge >= 0) shmctl(huge, IPC_RMID, 0);
  }
  victim_pass();
}
