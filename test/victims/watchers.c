/*
 * A family in a watched directory: the first member watches it, others have files in it, one of them without a name,
 * and stand in it. What it takes to bring them back is none of the watcher's business: no event is ever told.
 */
#include "family.h"
#include <sys/inotify.h>

static int watch, named, nameless, fifo;

/* Not even that the victim itself looks: it opens nothing in here. */
static void verify_watcher(void) {
  static char events[4096];
  const struct inotify_event *first = (const void *)events;
  check(read(watch, events, sizeof events) == -1 && errno == EAGAIN, "an event %#x of \"%s\"", first->mask,
        first->len ? first->name : "");
}

static void verify_files(void) {
  char text[8] = {0};
  struct stat status;
  check(pread(nameless, text, 7, 0) == 4 && !strcmp(text, "gone"));
  check(!fstat(nameless, &status) && status.st_nlink == 0);
  check(pread(named, text, 7, 0) == 4 && !strcmp(text, "here"));
  check(fcntl(fifo, F_GETFL) >= 0);
}

static void verify_nothing(void) {}

static void member(int number) {
  check(!mkdir("room", 0700) || errno == EEXIST);
  check(!chdir("room"));
  if (number != 2) {
    family_born(number);
    family_live(number ? verify_nothing : verify_watcher);
  }
  named = open("named", O_RDWR | O_CREAT, 0600);
  nameless = open("nameless", O_RDWR | O_CREAT, 0600);
  check(write(named, "here", 4) == 4 && write(nameless, "gone", 4) == 4 && !unlink("nameless"));
  check(!mkfifo("fifo", 0600) && (fifo = open("fifo", O_RDWR | O_NONBLOCK)) >= 0);
  family_born(number);
  family_live(verify_files);
}

int main(void) {
  family_found(3);
  for (int i = 1; i < 3; i++)
    if (!fork()) member(i);
  family_await(1, BORN);
  family_await(2, BORN);
  check((watch = inotify_init1(IN_NONBLOCK)) >= 0);
  /* Less what others do when they verify. */
  check(inotify_add_watch(watch, "room", IN_ALL_EVENTS & ~IN_ACCESS) == 1);
  check(!chdir("room"));
  verify_watcher();
  family_born(0);
  family_live(verify_watcher);
}
