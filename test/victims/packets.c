/*
 * Packets in pipes and FIFOs (O_DIRECT), alone and mixed with plain bytes; pipes of the smallest and the largest size,
 * full to the last byte. A look reads everything and writes it back, so that the next one finds the same. There is none
 * before the end: in the middle of one, a packet is alone in its pipe, and nobody can see that it is one.
 */
#include "victim.h"
#include <sys/ioctl.h>

static int several[2], crowd[2], mixed[2], behind[2], last[2], one[2], large[2], fifo_in, fifo_out;
static char page[PAGE], big[1 << 20], got[(1 << 20) + 1];
static int largest;

static int waiting(int fd) {
  int n = -1;
  ioctl(fd, FIONREAD, &n);
  return n;
}

static void direct(int fd, bool on) {
  int flags = fcntl(fd, F_GETFL);
  check(!fcntl(fd, F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT));
}

/* One read gives exactly this. */
static void take(int in, const void *want, int length) {
  int n = read(in, got, sizeof got);
  check(n == length && !memcmp(got, want, length), "%d bytes, not %d", n, length);
}

static void put(int out, const void *bytes, int length) { check(write(out, bytes, length) == length); }

static void put_several(int out) {
  put(out, "ab", 2);
  put(out, page, PAGE);
  put(out, "c", 1);
}

static void take_several(int in) {
  take(in, "ab", 2);
  take(in, page, PAGE);
  take(in, "c", 1);
}

/* A packet between plain bytes: a page that is full, so that the packet is not appended to it. */
static void put_mixed(void) {
  put(mixed[1], page, PAGE);
  direct(mixed[1], true);
  put(mixed[1], "packet", 6);
  direct(mixed[1], false);
  put(mixed[1], "plain", 5);
}

/* A packet behind plain bytes that do not fill their page: tee(2) put them there. */
static void put_behind(void) {
  int other[2];
  check(!pipe2(other, O_CLOEXEC));
  put(other[1], "teed", 4);
  check(tee(other[0], behind[1], 4, 0) == 4 && !close(other[0]) && !close(other[1]));
  direct(behind[1], true);
  put(behind[1], "packet", 6);
  put(behind[1], "more", 4);
  direct(behind[1], false);
}

/* A single packet: nothing but what comes after it shows that it is one. */
static void put_last(void) {
  direct(last[1], true);
  put(last[1], "x", 1);
  direct(last[1], false);
}

static void verify(void) {
  take_several(several[0]);
  put_several(several[1]);
  check(write(crowd[1], "y", 1) == -1 && errno == EAGAIN, "there is room");
  for (char c = 'a'; c < 'a' + 16; c++) take(crowd[0], &c, 1);
  for (char c = 'a'; c < 'a' + 16; c++) put(crowd[1], &c, 1);
  /* The packet ends the read that the page before it began. */
  check(read(mixed[0], got, sizeof got) == PAGE + 6 && !memcmp(got, page, PAGE) && !memcmp(got + PAGE, "packet", 6));
  take(mixed[0], "plain", 5);
  put_mixed();
  take(behind[0], "teedpacket", 10);
  take(behind[0], "more", 4);
  put_behind();
  put(last[1], "z", 1);
  take(last[0], "x", 1);
  take(last[0], "z", 1);
  put_last();
  check(fcntl(one[0], F_GETPIPE_SZ) == PAGE);
  take(one[0], page, PAGE);
  put(one[1], page, PAGE);
  check(fcntl(large[0], F_GETPIPE_SZ) == largest && waiting(large[0]) == largest);
  check(read(large[0], got, largest) == largest && !memcmp(got, big, largest));
  put(large[1], big, largest);
  take_several(fifo_in);
  put_several(fifo_out);
}

int main(void) {
  fill_known(page, sizeof page, 1);
  fill_known(big, sizeof big, 2);
  check(!pipe2(several, O_DIRECT) && !pipe2(crowd, O_DIRECT | O_NONBLOCK) && !pipe(mixed) && !pipe(behind));
  check(!pipe(last) && !pipe2(one, O_DIRECT) && !pipe(large) && !mkfifo("fifo", 0600));
  check(fcntl(one[0], F_SETPIPE_SZ, PAGE) == PAGE);
  largest = fcntl(large[0], F_SETPIPE_SZ, sizeof big);
  if (largest < 0) largest = fcntl(large[0], F_GETPIPE_SZ);
  fifo_in = open("fifo", O_RDONLY | O_NONBLOCK);
  fifo_out = open("fifo", O_WRONLY);
  check(fifo_in >= 0 && fifo_out >= 0);
  direct(fifo_out, true);
  put_several(several[1]);
  for (char c = 'a'; c < 'a' + 16; c++) put(crowd[1], &c, 1);
  put_mixed();
  put_behind();
  put_last();
  put(one[1], page, PAGE);
  put(large[1], big, largest);
  put_several(fifo_out);
  verify();
  victim_ready();
  victim_wait();
  verify();
  verify();
  victim_pass();
}
