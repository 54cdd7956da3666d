/*
 * IPC namespaces: segments that are attached, that nobody has attached, and that are to be destroyed; semaphores;
 * message queues with messages of all lengths; settings, some of them lower than what is there. A child is in a
 * namespace of its own with the same IDs and keys, another one in that of the victim.
 */
#include "family.h"
#include <mqueue.h>
#include <sched.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

#ifndef SHM_DEST
#define SHM_DEST 01000
#endif

enum { COUNT = 3, MESSAGES = 4, SEMAPHORES = 3, QBYTES = 40000 };
static int attached, lonely, doomed, array, queue;
static char *attached_at, *doomed_at;
static struct shmid_ds segment_was[3];
static struct semid_ds array_was;
static struct msqid_ds queue_was;

typedef struct {
  long type;
  char text[9000];
} Message;
static const size_t LENGTHS[MESSAGES] = {0, 5, 9000, 4077};

/* Both namespaces have the same objects with other contents. */
static int seed(void) { return me == 1 ? 100 : 1; }

static void same_owner(const struct ipc_perm *is, const struct ipc_perm *was, const char *what) {
  check(is->__key == was->__key && is->uid == was->uid && is->gid == was->gid && is->cuid == was->cuid &&
            is->cgid == was->cgid && is->mode == was->mode,
        "%s: key %x, owner %u:%u, made by %u:%u, mode %o", what, is->__key, is->uid, is->gid, is->cuid, is->cgid,
        is->mode);
}

static void same_segment(int id, const struct shmid_ds *was) {
  struct shmid_ds is;
  check(!shmctl(id, IPC_STAT, &is), "segment %d", id);
  same_owner(&is.shm_perm, &was->shm_perm, "segment");
  check(is.shm_segsz == was->shm_segsz && is.shm_nattch == was->shm_nattch, "segment %d: %zu bytes, %lu attached", id,
        is.shm_segsz, is.shm_nattch);
}

static void setting(const char *name, const char *value) {
  char path[100], is[100] = "";
  snprintf(path, sizeof path, "/proc/sys/%s", name);
  slurp(path, is, sizeof is);
  is[strcspn(is, "\n")] = 0;
  for (char *at = is; *at; at++)
    if (*at == '\t') *at = ' ';
  check(!strcmp(is, value), "%s is %s, not %s", name, is, value);
}

static void set(const char *name, const char *value) {
  char path[100];
  snprintf(path, sizeof path, "/proc/sys/%s", name);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  check(fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value) && !close(fd), "%s", name);
}

static void verify_messages(void) {
  static Message message;
  static char wanted[9000];
  for (int i = 0; i < MESSAGES; i++) {
    ssize_t length = msgrcv(queue, &message, sizeof message.text, i, MSG_COPY | IPC_NOWAIT);
    check(length == (ssize_t)LENGTHS[i] && message.type == seed() + 3 * i, "message %d: %zd, %ld", i, length,
          message.type);
    fill_known(wanted, sizeof wanted, seed() + i);
    check(!memcmp(message.text, wanted, length));
  }
  struct msqid_ds is;
  check(!msgctl(queue, IPC_STAT, &is));
  same_owner(&is.msg_perm, &queue_was.msg_perm, "queue");
  check(is.msg_qbytes == queue_was.msg_qbytes && is.msg_qnum == MESSAGES, "queue: %lu bytes, %lu messages",
        is.msg_qbytes, is.msg_qnum);
}

static void verify(void) {
  if (attached_at) check(differs_known(attached_at, 2 * PAGE, seed()) < 0 && all_zero(attached_at + 2 * PAGE, PAGE));
  if (doomed_at) check(differs_known(doomed_at, PAGE, seed() + 1) < 0);
  same_segment(attached, &segment_was[0]);
  same_segment(doomed, &segment_was[1]);
  same_segment(lonely, &segment_was[2]);
  unsigned short values[SEMAPHORES];
  check(!semctl(array, 0, GETALL, values));
  for (int i = 0; i < SEMAPHORES; i++) check(values[i] == seed() + 7 * i, "semaphore %d: %d", i, values[i]);
  struct semid_ds is;
  check(!semctl(array, 0, IPC_STAT, &is) && is.sem_nsems == SEMAPHORES);
  same_owner(&is.sem_perm, &array_was.sem_perm, "array");
  verify_messages();
  setting("kernel/msgmnb", "20000");
  setting("kernel/msgmax", "9000");
  setting("kernel/shmmax", "8192");
  setting("kernel/shmmni", "1");
  setting("kernel/sem", "2 3 10 1");
  setting("fs/mqueue/msg_max", me == 1 ? "31" : "30");
}

/* The ID is beyond the first that the kernel would give. */
static int segment(key_t key, size_t size, int mode) {
  check(!shmctl(shmget(IPC_PRIVATE, 1, IPC_CREAT | 0600), IPC_RMID, 0));
  int id = shmget(key, size, IPC_CREAT | IPC_EXCL | mode);
  check(id > 0);
  return id;
}

static void make_segments(void) {
  attached = segment(0x1234, 3 * PAGE, 0640);
  attached_at = shmat(attached, 0, 0);
  fill_known(attached_at, 2 * PAGE, seed());
  doomed = segment(IPC_PRIVATE, PAGE, 0600); /* a key would be lost */
  doomed_at = shmat(doomed, 0, 0);
  fill_known(doomed_at, PAGE, seed() + 1);
  check(!shmctl(doomed, IPC_RMID, 0));
  check(!setegid(44) && !seteuid(45));
  lonely = segment(0x1236, PAGE + 1, 0606);
  check(!seteuid(0) && !setegid(0));
  struct shmid_ds owner = {.shm_perm = {.uid = 42, .gid = 43, .mode = 0604}};
  check(!shmctl(lonely, IPC_SET, &owner));
  char *at = shmat(lonely, 0, 0);
  fill_known(at, PAGE, seed() + 2);
  check(!shmdt(at));
}

static void make_others(void) {
  array = semget(0x2345, SEMAPHORES, IPC_CREAT | 0620);
  unsigned short values[SEMAPHORES];
  for (int i = 0; i < SEMAPHORES; i++) values[i] = seed() + 7 * i;
  check(array >= 0 && !semctl(array, 0, SETALL, values));
  struct semid_ds semaphores = {.sem_perm = {.uid = 12, .gid = 13, .mode = 0666}};
  check(!semctl(array, 0, IPC_SET, &semaphores));
  set("kernel/msgmax", "9000");
  set("kernel/msgmnb", "40000");
  queue = msgget(0x3456, IPC_CREAT | 0600);
  struct msqid_ds size = {.msg_perm = {.uid = 7, .gid = 8, .mode = 0622}, .msg_qbytes = QBYTES};
  check(queue >= 0 && !msgctl(queue, IPC_SET, &size));
  static Message message;
  for (int i = 0; i < MESSAGES; i++) {
    message.type = seed() + 3 * i;
    fill_known(message.text, sizeof message.text, seed() + i);
    check(!msgsnd(queue, &message, LENGTHS[i], IPC_NOWAIT));
  }
  size.msg_qbytes = 10000; /* less than what is in it */
  check(!msgctl(queue, IPC_SET, &size));
  set("kernel/msgmnb", "20000");
  set("kernel/shmmax", "8192");
  set("kernel/shmmni", "1");
  set("kernel/sem", "2 3 10 1");
  set("fs/mqueue/msg_max", me == 1 ? "31" : "30");
}

/* Priorities and lengths of the messages in a POSIX queue, in the order they are received. */
static const struct {
  unsigned priority;
  size_t length;
} POSIX[] = {{31, 0}, {5, 8192}, {5, 10}, {0, 4100}};
enum { POSIX_MESSAGES = sizeof POSIX / sizeof *POSIX };

static mqd_t open_queue;

static void make_posix_queue(void) {
  static char text[8192];
  struct mq_attr attributes = {.mq_maxmsg = 7, .mq_msgsize = 8192};
  mqd_t queue = mq_open("/stasis victim", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0606, &attributes);
  check(queue >= 0 && !fchmod(queue, 0606) && !fchown(queue, 42, 43));
  for (int i = 0; i < POSIX_MESSAGES; i++) {
    int which = (i + 1) % POSIX_MESSAGES; /* those of one priority in their order, the others not */
    fill_known(text, sizeof text, seed() + 20 + which);
    check(!mq_send(queue, text, POSIX[which].length, POSIX[which].priority));
  }
  check(!mq_close(queue));
  open_queue = mq_open("/empty", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NONBLOCK, 0600, 0);
  check(open_queue >= 0);
}

/* Takes the messages out. */
static void look_at_posix_queues(void) {
  if (me == 2) return;
  static char text[8192], wanted[8192];
  mqd_t queue = mq_open("/stasis victim", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  struct mq_attr attributes;
  struct stat status;
  check(queue >= 0 && !mq_getattr(queue, &attributes) && !fstat(queue, &status));
  check(attributes.mq_maxmsg == 7 && attributes.mq_msgsize == 8192 && attributes.mq_curmsgs == POSIX_MESSAGES);
  check(status.st_uid == 42 && status.st_gid == 43 && status.st_mode == (S_IFREG | 0606), "%u:%u %o", status.st_uid,
        status.st_gid, status.st_mode);
  for (int i = 0; i < POSIX_MESSAGES; i++) {
    unsigned priority = 99;
    ssize_t length = mq_receive(queue, text, sizeof text, &priority);
    check(length == (ssize_t)POSIX[i].length && priority == POSIX[i].priority, "message %d: %zd, %u", i, length, priority);
    fill_known(wanted, sizeof wanted, seed() + 20 + i);
    check(!memcmp(text, wanted, length), "message %d", i);
  }
  check(!mq_close(queue));
  queue = mq_open("/empty", O_RDONLY | O_CLOEXEC);
  check(queue >= 0 && !mq_getattr(queue, &attributes) && attributes.mq_curmsgs == 0);
  check(!mq_send(open_queue, "here", 4, 3) && mq_receive(queue, text, sizeof text, 0) == 4);
  check(mq_receive(open_queue, text, sizeof text, 0) < 0 && errno == EAGAIN);
}

static void make_namespace(void) {
  if (unshare(CLONE_NEWIPC)) skip("no IPC namespace can be made");
  make_posix_queue();
  make_segments();
  make_others();
}

/* Notes what is there, when everybody has attached what he will have. */
static void note(void) {
  for (int i = 1; i < COUNT; i++) family_await(i, BORN);
  check(!shmctl(attached, IPC_STAT, &segment_was[0]) && !shmctl(doomed, IPC_STAT, &segment_was[1]));
  check(!shmctl(lonely, IPC_STAT, &segment_was[2]) && !semctl(array, 0, IPC_STAT, &array_was));
  check(!msgctl(queue, IPC_STAT, &queue_was));
}

int main(void) {
  family_found(COUNT);
  make_namespace();
  for (int child = 1; child < COUNT; child++) {
    if (fork()) continue;
    check(!shmdt(doomed_at));
    doomed_at = 0;
    me = child;
    if (child == 1) {
      check(!shmdt(attached_at));
      make_namespace();
    }
    family_born(child);
    break;
  }
  if (me == 0) family_born(0);
  note();
  family_live_and(verify, look_at_posix_queues);
}
