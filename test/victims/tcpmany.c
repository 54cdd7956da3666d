/*
 * Many connections of TCP with both ends in one process, and bytes that wait in both directions: tcpmany COUNT.
 */
#include "victim.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define MOST 20000
static int ends[MOST][2];
static int count;

/* How many bytes wait at one end of a connection. */
static int waits(int i, int end) { return 1 + (i * 37 + end * 101) % 3000; }

static unsigned char byte_at(int i, int end, int at) { return (unsigned char)(at * 7 + i * 31 + end * 101 + (i >> 8)); }

static void put(int i, int end) {
  unsigned char buffer[3000];
  int length = waits(i, end);
  for (int at = 0; at < length; at++) buffer[at] = byte_at(i, end, at);
  check(send(ends[i][!end], buffer, length, 0) == length);
}

static void get(int i, int end) {
  unsigned char buffer[3001];
  int length = waits(i, end), got = 0;
  while (got < length) {
    struct pollfd wait = {.fd = ends[i][end], .events = POLLIN};
    check(poll(&wait, 1, 20000) == 1, "connection %d, end %d: %d of %d bytes", i, end, got, length);
    int more = recv(ends[i][end], buffer + got, sizeof buffer - got, MSG_DONTWAIT);
    check(more > 0, "connection %d, end %d", i, end);
    got += more;
  }
  check(got == length, "connection %d, end %d: %d bytes", i, end, got);
  for (int at = 0; at < length; at++) check(buffer[at] == byte_at(i, end, at), "connection %d: byte %d", i, at);
}

int main(int argc, char **argv) {
  count = argc > 1 ? atoi(argv[1]) : 100;
  check(count > 0 && count <= MOST);
  struct rlimit files = {2 * count + 100, 2 * count + 100};
  check(!setrlimit(RLIMIT_NOFILE, &files));
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof at;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  check(listener >= 0 && !bind(listener, (struct sockaddr *)&at, size) && !listen(listener, 16));
  check(!getsockname(listener, (struct sockaddr *)&at, &size));
  for (int i = 0; i < count; i++) {
    ends[i][0] = socket(AF_INET, SOCK_STREAM, 0);
    check(ends[i][0] >= 0 && !connect(ends[i][0], (struct sockaddr *)&at, size));
    ends[i][1] = accept(listener, NULL, NULL);
    check(ends[i][1] >= 0);
    put(i, 0);
    put(i, 1);
  }
  victim_ready();
  while (!victim_asked()) victim_nap(5);
  for (int i = 0; i < count; i++)
    for (int end = 0; end < 2; end++) get(i, end);
  for (int i = 0; i < count; i++)
    for (int end = 0; end < 2; end++) put(i, end);
  for (int i = 0; i < count; i++)
    for (int end = 0; end < 2; end++) get(i, end);
  victim_pass();
}
