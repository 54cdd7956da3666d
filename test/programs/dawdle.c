/* Takes a second and a half to handle SIGUSR1, wherever it was. */
#include "../victims/victim.h"
#include <signal.h>

static volatile int handled;

static void on_signal(int signal) {
  (void)signal;
  victim_nap(1500);
  handled++;
}

int main(void) {
  struct sigaction action = {.sa_handler = on_signal};
  sigaction(SIGUSR1, &action, 0);
  victim_ready();
  uint64_t sum = 0;
  while (!victim_asked()) sum += known_word(sum, 7);
  check(sum != 0 && handled == 1, "%d", handled);
  victim_pass();
}
