/* Tun devices of the same name in two network namespaces: one that only a child is in, and that of the process. */
#include "victim.h"
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static pid_t child;
static int there, here;

static int attached(void) {
  struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
  strcpy(request.ifr_name, "apart0");
  int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
  check(fd >= 0 && !ioctl(fd, TUNSETIFF, &request), "tun");
  return fd;
}

/* Whether a descriptor has its device in the network namespace of a process. */
static void expect(int fd, const char *process) {
  struct ifreq request = {0};
  struct stat device, namespace;
  char path[64];
  snprintf(path, sizeof path, "/proc/%s/ns/net", process);
  int space = ioctl(fd, SIOCGSKNS, 0);
  check(!ioctl(fd, TUNGETIFF, &request) && !strcmp(request.ifr_name, "apart0"));
  check(space >= 0 && !fstat(space, &device) && !stat(path, &namespace));
  close(space);
  check(device.st_ino == namespace.st_ino, "the device of %s is elsewhere", process);
}

static void verify(void) {
  char text[16];
  snprintf(text, sizeof text, "%d", (int)child);
  expect(there, text);
  expect(here, "self");
}

int main(void) {
  there = attached();
  child = fork();
  if (!child) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(there);
    for (;;) pause();
  }
  check(child > 0 && !unshare(CLONE_NEWNET));
  here = attached();
  victim_ready();
  victim_watch(verify);
  kill(child, SIGKILL);
  check(waitpid(child, 0, 0) == child);
  victim_pass();
}
