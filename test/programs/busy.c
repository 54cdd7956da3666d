/* Opens and closes descriptors without end. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int main(void) {
  puts("READY");
  fflush(stdout);
  for (;;) {
    int fds[20];
    for (int i = 0; i < 20; i++) fds[i] = open("/dev/null", O_RDONLY);
    for (int i = 0; i < 20; i++) close(fds[i]);
  }
}
