/*
 * A client of a socket outside of the tree: unixclient (stream|seqpacket|dgram) (echo|end|gone) NAME, where a name that
 * begins with @ is abstract. Asked for the verdict it sends and has it sent back (echo), finds the end (end) after what
 * had waited, or finds nobody there (gone).
 */
#include "victim.h"
#include <sys/socket.h>
#include <sys/un.h>

int main(int argc, char **argv) {
  check(argc == 4);
  int type = !strcmp(argv[1], "stream") ? SOCK_STREAM : !strcmp(argv[1], "dgram") ? SOCK_DGRAM : SOCK_SEQPACKET;
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  strcpy(to.sun_path, argv[3]);
  if (*argv[3] == '@') *to.sun_path = 0;
  int fd = socket(AF_UNIX, type, 0);
  check(fd >= 0 && !connect(fd, (struct sockaddr *)&to, offsetof(struct sockaddr_un, sun_path) + strlen(argv[3])));
  victim_ready();
  victim_wait();
  char got[32] = "";
  const char *how = argv[2];
  if (!strcmp(how, "echo")) {
    check(send(fd, "hello", 5, MSG_NOSIGNAL) == 5);
    if (type != SOCK_DGRAM) check(recv(fd, got, sizeof got, 0) == 5 && !strcmp(got, "hello"), "(%s)", got);
  } else if (!strcmp(how, "end")) {
    check(recv(fd, got, sizeof got, MSG_DONTWAIT) == 6 && !strcmp(got, "before"), "(%s)", got);
    check(recv(fd, got, sizeof got, MSG_DONTWAIT) == 0);
    check(send(fd, "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
  } else {
    check(send(fd, "x", 1, MSG_NOSIGNAL) < 0 && errno == ECONNREFUSED);
  }
  victim_pass();
}
