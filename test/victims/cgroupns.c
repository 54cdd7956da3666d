/*
 * Cgroup namespaces: the arguments are lists of processes of cgroups that are below the root of the namespace of the
 * victim. It moves there, and a child stays in the root. Both see their places relative to that.
 */
#include "family.h"

static int below, other = -1;

/* How many hierarchies show the process in a cgroup of this name. */
static int places(const char *path) {
  char text[4096] = "";
  int count = 0;
  slurp("/proc/self/cgroup", text, sizeof text);
  for (char *line = strtok(text, "\n"); line; line = strtok(0, "\n")) {
    char *at = strchr(strchr(line, ':') + 1, ':') + 1;
    if (!strcmp(at, path)) count++;
  }
  return count;
}

static void verify(void) {
  int is = places("/below");
  check(is == (me == 0 ? below : 0), "member %d: %d below", me, is);
  is = places("/");
  check(is == other + (me == 0 ? 0 : below), "member %d: %d at the root", me, is);
}

int main(int argc, char **argv) {
  family_found(2);
  below = argc - 1;
  other = places("/") - below;
  check(other >= 0);
  if (!fork()) {
    family_born(1);
    family_live(verify);
  }
  for (int i = 1; i < argc; i++) {
    int fd = open(argv[i], O_WRONLY | O_CLOEXEC);
    check(fd >= 0 && write(fd, "0", 1) == 1 && !close(fd), "%s", argv[i]);
  }
  family_born(0);
  family_live(verify);
}
