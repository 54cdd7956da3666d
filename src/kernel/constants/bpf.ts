/** eBPF (include/uapi/linux/bpf.h). */

/** Commands of bpf(2) (`enum bpf_cmd`). */
export const BPF = {
  MAP_CREATE: 0,
  PROG_LOAD: 5,
  PROG_GET_NEXT_ID: 11,
  PROG_GET_FD_BY_ID: 13,
  MAP_GET_FD_BY_ID: 14,
  OBJ_GET_INFO_BY_FD: 15,
  MAP_FREEZE: 22,
  MAP_LOOKUP_BATCH: 24,
  MAP_UPDATE_BATCH: 26,
  LINK_CREATE: 28,
  ITER_CREATE: 33,
} as const;

/** Flags of maps, and of descriptors for them (`BPF_F_*`). */
export const BPF_F = { RDONLY: 1 << 3, WRONLY: 1 << 4 } as const;

/** The kinds of maps by number (`enum bpf_map_type`). */
export const BPF_MAP_TYPES = [
  ...['UNSPEC', 'HASH', 'ARRAY', 'PROG_ARRAY', 'PERF_EVENT_ARRAY', 'PERCPU_HASH', 'PERCPU_ARRAY', 'STACK_TRACE'],
  ...['CGROUP_ARRAY', 'LRU_HASH', 'LRU_PERCPU_HASH', 'LPM_TRIE', 'ARRAY_OF_MAPS', 'HASH_OF_MAPS', 'DEVMAP', 'SOCKMAP'],
  ...['CPUMAP', 'XSKMAP', 'SOCKHASH', 'CGROUP_STORAGE_DEPRECATED', 'REUSEPORT_SOCKARRAY'],
  ...['PERCPU_CGROUP_STORAGE_DEPRECATED', 'QUEUE', 'STACK', 'SK_STORAGE', 'DEVMAP_HASH', 'STRUCT_OPS', 'RINGBUF'],
  ...['INODE_STORAGE', 'TASK_STORAGE', 'BLOOM_FILTER', 'USER_RINGBUF', 'CGRP_STORAGE', 'ARENA'],
] as const;

export const BPF_MAP_TYPE = { HASH: 1, ARRAY: 2 } as const;

/** Kinds of programs, and what they are attached to (`enum bpf_prog_type`, `enum bpf_attach_type`). */
export const BPF_PROG_TYPE = { TRACING: 26 } as const;
export const BPF_TRACE_ITER = 28;

/** Functions that programs may call (`enum bpf_func_id`). */
export const BPF_FUNC = { probe_read_kernel: 113, seq_write: 127 } as const;

/** The kernel's description of its types (uapi/linux/btf.h): how it begins, and kinds of types. */
export const BTF_MAGIC = 0xeb9f;
export const BTF_KIND = {
  INT: 1,
  ARRAY: 3,
  STRUCT: 4,
  UNION: 5,
  ENUM: 6,
  FUNC: 12,
  FUNC_PROTO: 13,
  VAR: 14,
  DATASEC: 15,
  DECL_TAG: 17,
  ENUM64: 19,
} as const;

/** Instructions: a class with, for loads and stores, a size and a mode, for others an operation and its operand. */
export const BPF_CLASS = { LD: 0x00, LDX: 0x01, STX: 0x03, JMP: 0x05, ALU64: 0x07 } as const;
export const BPF_SIZE = { W: 0x00, DW: 0x18 } as const;
export const BPF_MODE = { IMM: 0x00, MEM: 0x60 } as const;
export const BPF_OPERATION = { ADD: 0x00, MOV: 0xb0, JEQ: 0x10, JNE: 0x50, JLT: 0xa0, CALL: 0x80, EXIT: 0x90 } as const;
export const BPF_OPERAND = { K: 0x00, X: 0x08 } as const;
