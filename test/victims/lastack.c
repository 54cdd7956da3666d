/*
 * A connection in LAST_ACK whose other end is not there any more: that is in TIME_WAIT, without a socket of a process.
 * A filter of the socket drops whatever still comes in.
 */
#include "victim.h"
#include <arpa/inet.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

static int connection;

static int state(void) {
  struct tcp_info info;
  socklen_t length = sizeof info;
  check(!getsockopt(connection, IPPROTO_TCP, TCP_INFO, &info, &length));
  return info.tcpi_state;
}

static void verify(void) { check(state() == TCP_LAST_ACK, "state %d", state()); }

int main(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  check(!bind(listener, (struct sockaddr *)&address, sizeof address) && !listen(listener, 1));
  check(!getsockname(listener, (struct sockaddr *)&address, &length));
  int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  check(!connect(client, (struct sockaddr *)&address, sizeof address));
  connection = accept4(listener, 0, 0, SOCK_CLOEXEC);
  check(connection >= 0 && !close(listener) && !close(client));
  while (state() != TCP_CLOSE_WAIT) victim_nap(1);
  struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
  struct sock_fprog program = {1, &drop};
  check(!setsockopt(connection, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program));
  check(!shutdown(connection, SHUT_WR));
  victim_ready();
  victim_watch(verify);
  victim_pass();
}
