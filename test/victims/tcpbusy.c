/*
 * Connections of TCP with traffic on all of them, in both directions, all the time: tcpbusy COUNT [outside]. The other
 * ends are in a child, or in a process that is not in the tree. Every byte is checked against its place in the stream;
 * in the end both sides close when each connection has made progress.
 */
#include "victim.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define MOST 5000
#define BLOCK 4096 /* each stream ends at a multiple of it */
#define MORE (8 * BLOCK)

typedef struct {
  int fd;
  uint64_t sent, got, since;
  bool closed, ended;
} End;

static End ends[MOST];
static int count;
static int side; /* 0 the server, 1 the client */

static unsigned char byte_at(int i, int from, uint64_t at) {
  return (unsigned char)(at * 7 + i * 31 + from * 101 + (at >> 8) + (at >> 16));
}

static void put(int i, int most) {
  End *e = ends + i;
  unsigned char buffer[BLOCK];
  for (int at = 0; at < most; at++) buffer[at] = byte_at(i, side, e->sent + at);
  ssize_t done = send(e->fd, buffer, most, MSG_DONTWAIT | MSG_NOSIGNAL);
  check(done > 0 || (done < 0 && (errno == EAGAIN || errno == EINTR)), "side %d, connection %d: %zd", side, i, done);
  if (done > 0) e->sent += done;
}

static bool get(int i) {
  End *e = ends + i;
  unsigned char buffer[2 * BLOCK];
  if (e->ended) return false;
  ssize_t length = recv(e->fd, buffer, sizeof buffer, MSG_DONTWAIT);
  if (length < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  check(length >= 0, "side %d, connection %d", side, i);
  for (ssize_t at = 0; at < length; at++)
    check(buffer[at] == byte_at(i, !side, e->got + at), "side %d, connection %d: byte %lu", side, i, (long)(e->got + at));
  e->got += length;
  if (length > 0) return true;
  check(e->got > 0 && e->got % BLOCK == 0, "side %d, connection %d ends after %lu bytes", side, i, (long)e->got);
  e->ended = true;
  return true;
}

/* Sends the rest of a block, and then that nothing more comes. */
static void end(int i) {
  End *e = ends + i;
  if (e->sent % BLOCK) put(i, BLOCK - e->sent % BLOCK);
  if (e->closed || e->sent % BLOCK) return;
  check(!shutdown(e->fd, SHUT_WR));
  e->closed = true;
}

/* One look at all connections; whether all is over. The client ends each when the server has ended it. */
static bool turn(bool ending) {
  bool over = true;
  for (int i = 0; i < count; i++) {
    while (get(i)) continue;
    if (side == 0 ? ending : ends[i].ended) end(i);
    else put(i, 200 + i % 300);
    over = over && ends[i].closed && ends[i].ended;
  }
  return over;
}

static void client(const struct sockaddr_in *at) {
  side = 1;
  for (int i = 0; i < count; i++) {
    ends[i].fd = socket(AF_INET, SOCK_STREAM, 0);
    check(ends[i].fd >= 0 && !connect(ends[i].fd, (const struct sockaddr *)at, sizeof *at));
    put(i, BLOCK);
  }
  while (!turn(false)) victim_nap(2);
  _exit(0);
}

static bool all_moved(void) {
  for (int i = 0; i < count; i++)
    if (ends[i].got < ends[i].since + MORE) return false;
  return true;
}

int main(int argc, char **argv) {
  count = argc > 1 ? atoi(argv[1]) : 100;
  bool outside = argc > 2;
  check(count > 0 && count <= MOST);
  struct rlimit files = {count + 100, count + 100};
  check(!setrlimit(RLIMIT_NOFILE, &files));
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof at;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  check(listener >= 0 && !bind(listener, (struct sockaddr *)&at, size) && !listen(listener, 64));
  check(!getsockname(listener, (struct sockaddr *)&at, &size));
  pid_t child = fork();
  check(child >= 0);
  if (child == 0) {
    close(listener);
    /* Not in the tree: its parent is gone, and it is in no session of the tree. */
    if (outside && fork()) _exit(0);
    if (outside) check(setsid() > 0);
    client(&at);
  }
  if (outside) check(waitpid(child, NULL, 0) == child);
  for (int i = 0; i < count; i++) {
    ends[i].fd = accept(listener, NULL, NULL);
    check(ends[i].fd >= 0); /* in the order in which the client has connected them, one after the other */
  }
  close(listener);
  victim_ready();
  while (!victim_asked()) {
    turn(false);
    victim_nap(2);
  }
  for (int i = 0; i < count; i++) ends[i].since = ends[i].got;
  while (!all_moved()) {
    turn(false);
    victim_nap(1);
  }
  while (!turn(true)) victim_nap(1);
  int status = 0;
  if (!outside) check(waitpid(child, &status, 0) == child && status == 0, "the client ended with 0x%x", status);
  victim_pass();
}
