/*
 * Maps of eBPF: a hash with entries, one that is empty, an array, one that is frozen, one of large values; descriptors
 * that may only read or only write, and two open file descriptions of one map.
 */
#include "victim.h"
#include <linux/bpf.h>

#define ENTRIES 5000

static int hash, empty, array, frozen, large, reader, writer;
static char value[3000];

static long bpf(int command, union bpf_attr *attr) { return syscall(SYS_bpf, command, attr, sizeof *attr); }

static int make(int type, int key, int size, int entries, int flags, const char *name) {
  union bpf_attr attr = {.map_type = type, .key_size = key, .value_size = size, .max_entries = entries};
  attr.map_flags = flags;
  snprintf(attr.map_name, sizeof attr.map_name, "%s", name);
  int fd = bpf(BPF_MAP_CREATE, &attr);
  if (fd < 0 && (errno == ENOSYS || errno == EPERM)) skip("no eBPF here");
  check(fd >= 0, "%s", name);
  return fd;
}

static long entry(int command, int fd, const void *key, const void *at) {
  union bpf_attr attr = {.map_fd = fd, .key = (uintptr_t)key};
  attr.value = (uintptr_t)at;
  return bpf(command, &attr);
}

static long put(int fd, const void *key, const void *at) { return entry(BPF_MAP_UPDATE_ELEM, fd, key, at); }

static int again(int fd, int flags) {
  struct bpf_map_info info = {0};
  union bpf_attr attr = {.info = {.bpf_fd = fd, .info_len = sizeof info, .info = (uintptr_t)&info}};
  check(!bpf(BPF_OBJ_GET_INFO_BY_FD, &attr));
  union bpf_attr open = {.map_id = info.id};
  open.open_flags = flags;
  int other = bpf(BPF_MAP_GET_FD_BY_ID, &open);
  check(other >= 0);
  return other;
}

static void has_name(int fd, const char *name) {
  struct bpf_map_info info = {0};
  union bpf_attr attr = {.info = {.bpf_fd = fd, .info_len = sizeof info, .info = (uintptr_t)&info}};
  check(!bpf(BPF_OBJ_GET_INFO_BY_FD, &attr) && !strcmp(info.name, name), "%s", info.name);
}

static void verify(void) {
  static char got[3000];
  for (uint64_t key = 0; key < ENTRIES; key += 7) {
    uint64_t word = 0;
    check(!entry(BPF_MAP_LOOKUP_ELEM, hash, &key, &word) && word == known_word(1, key), "key %lu", (long)key);
  }
  uint64_t none = ENTRIES, word;
  check(entry(BPF_MAP_LOOKUP_ELEM, hash, &none, &word) && errno == ENOENT);
  union bpf_attr next = {.map_fd = empty};
  next.next_key = (uintptr_t)&word;
  check(bpf(BPF_MAP_GET_NEXT_KEY, &next) && errno == ENOENT);
  for (uint32_t i = 0; i < 10; i++) {
    int number = 0;
    check(!entry(BPF_MAP_LOOKUP_ELEM, array, &i, &number) && number == (int)i * 3 - 5, "%u: %d", i, number);
  }
  uint32_t key = 1;
  check(!entry(BPF_MAP_LOOKUP_ELEM, frozen, &key, &word) && word == 77);
  check(put(frozen, &key, &word) && errno == EPERM);
  check(!entry(BPF_MAP_LOOKUP_ELEM, large, "key of 13 by", got) && !memcmp(got, value, sizeof value));
  /* What one descriptor writes the other one reads: it is one map. */
  uint32_t seven = 7;
  int number = 1000, seen = 0;
  check(!put(writer, &seven, &number) && !entry(BPF_MAP_LOOKUP_ELEM, reader, &seven, &seen) && seen == 1000);
  number = 7 * 3 - 5;
  check(!put(array, &seven, &number));
  check(entry(BPF_MAP_LOOKUP_ELEM, writer, &seven, &seen) && errno == EPERM);
  check(put(reader, &seven, &number) && errno == EPERM);
  has_name(hash, "a_hash");
  has_name(array, "");
}

int main(void) {
  fill_known(value, sizeof value / 8 * 8, 9);
  hash = make(BPF_MAP_TYPE_HASH, 8, 8, 2 * ENTRIES, BPF_F_NO_PREALLOC, "a_hash");
  empty = make(BPF_MAP_TYPE_HASH, 8, 8, 16, 0, "empty");
  array = make(BPF_MAP_TYPE_ARRAY, 4, 4, 10, 0, "");
  frozen = make(BPF_MAP_TYPE_ARRAY, 4, 8, 2, BPF_F_RDONLY_PROG, "frozen");
  large = make(BPF_MAP_TYPE_HASH, 13, sizeof value, 3, 0, "large");
  for (uint64_t key = 0; key < ENTRIES; key++) {
    uint64_t word = known_word(1, key);
    check(!put(hash, &key, &word));
  }
  for (uint32_t i = 0; i < 10; i++) {
    int number = i * 3 - 5;
    check(!put(array, &i, &number));
  }
  uint32_t key = 1;
  uint64_t word = 77;
  check(!put(frozen, &key, &word));
  union bpf_attr attr = {.map_fd = frozen};
  check(!bpf(BPF_MAP_FREEZE, &attr));
  check(!put(large, "key of 13 by", value));
  reader = again(array, BPF_F_RDONLY);
  writer = again(array, BPF_F_WRONLY);
  victim_ready();
  victim_loop(verify);
}
