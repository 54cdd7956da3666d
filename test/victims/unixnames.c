/*
 * Unix sockets with names: listening, accepted, waiting to be accepted; names that are relative, abstract, renamed,
 * removed, bound again by another; who listened and who connected (SO_PEERCRED). With an argument only what CRIU 4.2
 * carries as well.
 */
#include "victim.h"
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

static bool plain;
static char here[100];

typedef struct {
  const char *name; /* as bound */
  const char *file; /* where its file is; 0: nowhere */
  int type, mode, listener;
  int client[2], server[2]; /* accepted */
  int waiting[3];           /* not accepted yet */
} Service;

static char absolute[108], deep[108];
static Service services[] = {
    {absolute, "absolute", SOCK_STREAM, 0640, 0, {0}, {0}, {0}},
    {"relative", "relative", SOCK_SEQPACKET, 0606, 0, {0}, {0}, {0}},
    {deep, 0, SOCK_STREAM, 0600, 0, {0}, {0}, {0}}, /* removed */
    {"sub/../dotted", "dotted", SOCK_STREAM, 0777, 0, {0}, {0}, {0}},
    {"early", "late", SOCK_STREAM, 0700, 0, {0}, {0}, {0}}, /* renamed */
    {"\0stasis-", 0, SOCK_SEQPACKET, 0, 0, {0}, {0}, {0}},  /* abstract; its own part is added */
};
#define SERVICES ((int)(sizeof services / sizeof *services))
#define CRIUS 3 /* the first ones */

static int accepted_from_closed, its_client, old_one, new_one;
static pid_t listened_by;

static socklen_t address(struct sockaddr_un *to, const char *name) {
  *to = (struct sockaddr_un){.sun_family = AF_UNIX};
  if (*name) {
    strcpy(to->sun_path, name);
    return offsetof(struct sockaddr_un, sun_path) + strlen(name) + 1;
  }
  int length = snprintf(to->sun_path + 1, 100, "%s%d", name + 1, (int)getpid());
  return offsetof(struct sockaddr_un, sun_path) + 1 + length;
}

static void must_be(int fd, const char *name, bool peer) {
  struct sockaddr_un want, got;
  memset(&got, 0, sizeof got);
  socklen_t length = address(&want, name), have = sizeof got;
  check(!(peer ? getpeername : getsockname)(fd, (struct sockaddr *)&got, &have));
  check(have == length && !memcmp(&got, &want, length), "(%s: %s, %d bytes)", name, got.sun_path, have);
}

static int connected(const char *name, int type) {
  struct sockaddr_un to;
  socklen_t length = address(&to, name);
  int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
  check(fd >= 0 && !connect(fd, (struct sockaddr *)&to, length), "(%s)", name);
  return fd;
}

static int bound(const char *name, int type) {
  struct sockaddr_un at;
  socklen_t length = address(&at, name);
  int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
  check(fd >= 0 && !bind(fd, (struct sockaddr *)&at, length), "(%s)", name);
  return fd;
}

/* What waits is received and sent again, so that the next look finds the same. */
static void turn(int to, int from, const char *text) {
  char got[64] = "";
  check(recv(to, got, sizeof got, MSG_DONTWAIT) == (ssize_t)strlen(text) && !strcmp(got, text), "(%s)", got);
  check(send(from, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text));
}

static struct ucred peer_of(int fd) {
  struct ucred who;
  socklen_t length = sizeof who;
  check(!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &length));
  return who;
}

static void check_file(const Service *s) {
  struct stat stat;
  if (!s->file) {
    check(lstat("deep/gone", &stat) < 0 && errno == ENOENT);
    return;
  }
  check(!lstat(s->file, &stat) && S_ISSOCK(stat.st_mode), "(%s)", s->file);
  check((int)(stat.st_mode & 0777) == s->mode && stat.st_uid == 11 && stat.st_gid == 12, "(%s, 0%o)", s->file,
        stat.st_mode);
}

static void check_service(const Service *s) {
  if (*s->name) check_file(s);
  must_be(s->listener, s->name, false);
  int listens = 0;
  socklen_t length = sizeof listens;
  check(!getsockopt(s->listener, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) && listens);
  for (int i = 0; i < 2; i++) {
    if (!plain) must_be(s->client[i], s->name, true);
    if (!plain) must_be(s->server[i], s->name, false);
    turn(s->client[i], s->server[i], i ? "down1" : "down0");
    turn(s->server[i], s->client[i], "up");
  }
  struct pollfd p = {s->listener, POLLIN, 0};
  check(poll(&p, 1, 0) == 1 && (p.revents & POLLIN));
  for (int i = 0; i < 3; i++) must_be(s->waiting[i], s->name, true);
}

static void check_makers(void) {
  const Service *s = &services[0];
  if (plain) return;
  struct ucred who = peer_of(s->client[0]);
  check(who.pid == getpid() && who.uid == 1234 && who.gid == 4321, "%d %d", who.uid, who.gid); /* who listened */
  who = peer_of(s->server[0]);
  check(who.pid == getpid() && who.uid == 0, "%d", who.uid); /* who connected */
  who = peer_of(s->server[1]);
  check(who.pid == getpid() && who.uid == 77, "%d", who.uid);
  who = peer_of(its_client);
  check(who.pid == listened_by, "%d, not %d", who.pid, listened_by);
}

static void check_others(void) {
  if (plain) return;
  must_be(accepted_from_closed, "closed", false);
  must_be(its_client, "closed", true);
  turn(accepted_from_closed, its_client, "still");
  must_be(old_one, "again", false);
  must_be(new_one, "again", false);
  struct sockaddr_un to;
  socklen_t length = address(&to, "again");
  int from = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  check(sendto(from, "new", 3, 0, (struct sockaddr *)&to, length) == 3);
  close(from);
  char got[8];
  check(recv(new_one, got, 8, MSG_DONTWAIT) == 3 && recv(old_one, got, 8, MSG_DONTWAIT) < 0);
}

static void verify(void) {
  for (int i = 0; i < (plain ? CRIUS : SERVICES); i++) check_service(&services[i]);
  check_makers();
  check_others();
}

/* At the end: those that wait are accepted in their order, and reach whom they should. */
static void accept_all(const Service *s) {
  for (int i = 0; i < 3; i++) {
    int fd = accept4(s->listener, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC);
    check(fd >= 0, "(%s, %d)", s->name, i);
    char text[8] = "";
    check(send(s->waiting[i], &"abc"[i], 1, 0) == 1 && recv(fd, text, 8, 0) == 1 && *text == "abc"[i], "(%s)", text);
    close(fd);
  }
  check(fcntl(s->listener, F_SETFL, O_NONBLOCK) >= 0 && accept(s->listener, 0, 0) < 0 && errno == EAGAIN);
  if (!s->file && *s->name) return;
  int client = connected(s->file && strcmp(s->name, s->file) && *s->name != '/' ? s->file : s->name, s->type);
  check(accept(s->listener, 0, 0) >= 0);
  close(client);
}

static void as(uid_t uid, gid_t gid) {
  check(!syscall(SYS_setresgid, -1, gid, -1) && !syscall(SYS_setresuid, -1, uid, -1));
}

static void as_root(void) { check(!syscall(SYS_setresuid, -1, 0, -1) && !syscall(SYS_setresgid, -1, 0, -1)); }

static void serve(Service *s) {
  s->listener = bound(s->name, s->type);
  if (*s->name) check(!chmod(s->name, 0777));
  if (s == services && !plain) as(1234, 4321);
  check(!listen(s->listener, 5));
  if (s == services && !plain) as_root();
  for (int i = 0; i < 2; i++) {
    if (s == services && i && !plain) as(77, 0);
    s->client[i] = connected(s == services ? "absolute" : s->name, s->type);
    if (s == services && i && !plain) as_root();
    check((s->server[i] = accept4(s->listener, 0, 0, SOCK_CLOEXEC)) >= 0);
    check(send(s->server[i], i ? "down1" : "down0", 5, 0) == 5 && send(s->client[i], "up", 2, 0) == 2);
  }
  for (int i = 0; i < 3; i++) s->waiting[i] = connected(s->name, s->type);
  if (*s->name) check(!chmod(s->name, s->mode) && !chown(s->name, 11, 12));
}

/* A child listens and ends; the connection stays. */
static void serve_from_child(void) {
  int fd = bound("closed", SOCK_STREAM), status;
  if (!(listened_by = fork())) _exit(listen(fd, 5) ? 1 : 0);
  check(listened_by > 0 && waitpid(listened_by, &status, 0) == listened_by && !status);
  its_client = connected("closed", SOCK_STREAM);
  check((accepted_from_closed = accept4(fd, 0, 0, SOCK_CLOEXEC)) >= 0);
  check(send(its_client, "still", 5, 0) == 5);
  close(fd);
}

int main(int argc, char **argv) {
  (void)argv;
  plain = argc > 1;
  check(getcwd(here, sizeof here - 20));
  check(!mkdir("sub", 0777) && !mkdir("deep", 0777));
  snprintf(absolute, sizeof absolute, "%s/absolute", here);
  snprintf(deep, sizeof deep, "%s/deep/gone", here);
  for (int i = 0; i < (plain ? CRIUS : SERVICES); i++) serve(&services[i]);
  check(!unlink(deep) && !rmdir("deep"));
  if (!plain) {
    check(!rename("early", "late"));
    serve_from_child();
    old_one = bound("again", SOCK_DGRAM);
    check(!unlink("again"));
    new_one = bound("again", SOCK_DGRAM);
  }
  /* Names stay relative to where they were bound. */
  check(!chdir(plain ? "." : "sub") && !chdir(plain ? "." : ".."));
  victim_ready();
  victim_watch(verify);
  for (int i = 0; i < (plain ? CRIUS : SERVICES); i++) accept_all(&services[i]);
  victim_pass();
}
