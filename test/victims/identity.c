/* What /proc shows of the program: command line, environment, auxv, exe, comm, and where the kernel keeps them. */
#include "victim.h"
#include <sys/auxv.h>
#include <sys/prctl.h>

typedef struct {
  const char *path;
  size_t length;
  char text[1 << 16];
} Shot;

static Shot shots[] = {{"/proc/self/cmdline"}, {"/proc/self/environ"}, {"/proc/self/auxv"}, {"/proc/self/comm"}};
static char exe[4096];
static unsigned long fields[16];
extern char **environ;

/* start_code end_code start_stack, start_data end_data start_brk, arg_start arg_end env_start env_end. */
static void places(unsigned long *to) {
  static char text[2048];
  slurp("/proc/self/stat", text, sizeof text);
  char *at = strrchr(text, ')') + 2;
  int n = 0;
  for (int field = 3; *at; field++) {
    unsigned long value = strtoul(at, 0, 10);
    if ((field >= 26 && field <= 28) || (field >= 45 && field <= 51)) to[n++] = value;
    at += strcspn(at, " ");
    while (*at == ' ') at++;
  }
}

static void verify(void) {
  static char now[1 << 16];
  for (size_t i = 0; i < sizeof shots / sizeof *shots; i++) {
    size_t length = slurp(shots[i].path, now, sizeof now);
    check(length == shots[i].length && !memcmp(now, shots[i].text, length), "%s", shots[i].path);
  }
  char link[4096] = "";
  check(readlink("/proc/self/exe", link, sizeof link - 1) > 0 && !strcmp(link, exe), "is %s, was %s", link, exe);
  unsigned long places_now[16] = {0};
  places(places_now);
  for (int i = 0; i < 16; i++) check(places_now[i] == fields[i], "place %d: is %lx, was %lx", i, places_now[i], fields[i]);
}

int main(int argc, char **argv) {
  (void)argc;
  /* A program that renames itself, in ps and in top. */
  memset(argv[0], 'v', strlen(argv[0]));
  memcpy(argv[0], "vic: \xff ) R (", 12);
  check(!prctl(PR_SET_NAME, "odd) S 1\n(\xfe"));
  check(environ[0]);
  for (size_t i = 0; i < sizeof shots / sizeof *shots; i++)
    shots[i].length = slurp(shots[i].path, shots[i].text, sizeof shots[i].text);
  check(readlink("/proc/self/exe", exe, sizeof exe - 1) > 0);
  places(fields);
  check(getauxval(AT_PAGESZ) == PAGE);
  victim_ready();
  victim_loop(verify);
}
