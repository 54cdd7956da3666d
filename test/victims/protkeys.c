/*
 * Protection keys: allocated, freed again while a mapping has it, and the kernel's own for memory that may only be
 * executed. The registers of two threads say different things of them. A child has what it got by fork, and an
 * allocation of its own.
 */
#include "victim.h"
#include <pthread.h>
#include <sys/wait.h>

static int guarded, hidden, freed, kernels; /* keys */
static char *page_of[16];
static char *code;
static int pipe_in[2], ask[2], answer[2];
static bool is_child;
static volatile int thread_turn;

static unsigned rdpkru(void) {
  unsigned low, high;
  __asm__ volatile("rdpkru" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

/* The key that smaps shows for the mapping at an address. */
static int key_of(const void *at) {
  static char text[1 << 17];
  int fd = open("/proc/self/smaps", O_RDONLY);
  check(fd >= 0);
  size_t length = 0;
  for (ssize_t n; (n = read(fd, text + length, sizeof text - 1 - length)) > 0;) length += n;
  close(fd);
  text[length] = 0;
  char start[40];
  snprintf(start, sizeof start, "%lx-", (unsigned long)at);
  char *line = strstr(text, start);
  check(line);
  int key = -1;
  check((line = strstr(line, "ProtectionKey:")) && sscanf(line, "ProtectionKey: %d", &key) == 1);
  return key;
}

/* Whether the kernel, for this thread, may read or write a byte there. */
static bool may_read(const char *at) {
  bool done = write(pipe_in[1], at, 1) == 1;
  int why = errno;
  char byte;
  if (done) check(read(pipe_in[0], &byte, 1) == 1);
  else check(why == EFAULT);
  return done;
}

static bool may_write(char *at) {
  check(write(pipe_in[1], "w", 1) == 1);
  bool done = read(pipe_in[0], at, 1) == 1;
  int why = errno;
  char byte;
  if (!done) check(why == EFAULT && read(pipe_in[0], &byte, 1) == 1);
  return done;
}

static bool is_allocated(int key) {
  return syscall(SYS_pkey_mprotect, 0xffff800000000000, PAGE, PROT_NONE, key) == -1 && errno == ENOMEM;
}

static void verify_thread(void) {
  check(pkey_get(guarded) == 0 && pkey_get(hidden) == PKEY_DISABLE_WRITE, "%#x", rdpkru());
  check(may_read(page_of[hidden]) && !may_write(page_of[hidden]) && may_write(page_of[guarded]));
}

static void verify_own(void) {
  check(key_of(page_of[guarded]) == guarded && key_of(page_of[hidden]) == hidden && key_of(page_of[freed]) == freed);
  check(key_of(code) == kernels, "key %d", key_of(code));
  check(is_allocated(guarded) && is_allocated(hidden) && !is_allocated(kernels));
  check(is_allocated(freed) == is_child);
  for (int key = 5; key < 16; key++) check(!is_allocated(key), "%d", key);
  check(pkey_get(guarded) == PKEY_DISABLE_WRITE && pkey_get(hidden) == PKEY_DISABLE_ACCESS, "%#x", rdpkru());
  check(may_read(page_of[guarded]) && !may_write(page_of[guarded]) && page_of[guarded][1] == 'g');
  check(!may_read(page_of[hidden]) && !may_write(page_of[hidden]));
  check(pkey_set(hidden, 0) == 0 && page_of[hidden][1] == 'h' && pkey_set(hidden, PKEY_DISABLE_ACCESS) == 0);
  check(!may_read(code) && ((int (*)(void))code)() == 42);
}

static void *second_thread(void *unused) {
  check(pkey_set(guarded, 0) == 0 && pkey_set(hidden, PKEY_DISABLE_WRITE) == 0);
  for (;; victim_nap(1)) {
    if (thread_turn != 1) continue;
    verify_thread();
    thread_turn = 0;
  }
  return unused;
}

static void verify(void) {
  verify_own();
  thread_turn = 1;
  while (thread_turn) victim_nap(1);
  char byte = 0;
  check(write(ask[1], "?", 1) == 1 && read(answer[0], &byte, 1) == 1 && byte == '!');
}

static char *page_with(int key, char byte) {
  char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  check(page != MAP_FAILED);
  page[1] = byte;
  check(pkey_mprotect(page, PAGE, PROT_READ | PROT_WRITE, key) == 0);
  return page_of[key] = page;
}

static void run_child(void) {
  is_child = true;
  close(ask[1]);
  check(pkey_alloc(0, 0) == freed);
  char byte;
  while (read(ask[0], &byte, 1) == 1) {
    verify_own();
    check(write(answer[1], "!", 1) == 1);
  }
  _exit(0);
}

int main(void) {
  guarded = pkey_alloc(0, 0);
  if (guarded < 0) skip("no protection keys: %s", strerrorname_np(errno));
  check(guarded == 1 && !pipe(pipe_in) && !pipe(ask) && !pipe(answer));
  /* mov $42, %eax; ret */
  static const unsigned char answer_42[] = {0xb8, 42, 0, 0, 0, 0xc3};
  code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  check(code != MAP_FAILED);
  memcpy(code, answer_42, sizeof answer_42);
  check(!mprotect(code, PAGE, PROT_EXEC));
  kernels = 2;
  freed = pkey_alloc(0, 0);
  hidden = pkey_alloc(0, 0);
  check(freed == 3 && hidden == 4);
  page_with(guarded, 'g');
  page_with(hidden, 'h');
  page_with(freed, 'f');
  check(!pkey_free(freed) && !pkey_set(freed, 0));
  check(!pkey_set(guarded, PKEY_DISABLE_WRITE) && !pkey_set(hidden, PKEY_DISABLE_ACCESS));
  pid_t child = fork();
  check(child >= 0);
  if (child == 0) run_child();
  pthread_t thread;
  check(!pthread_create(&thread, NULL, second_thread, NULL));
  victim_ready();
  victim_watch(verify);
  close(ask[1]);
  int status = -1;
  check(waitpid(child, &status, 0) == child && status == 0, "%#x", status);
  victim_pass();
}
