/** eBPF (include/uapi/linux/bpf.h): the used members of `union bpf_attr`, and what the kernel tells of maps. */

import { array, bytes, i16, i32, struct, u8, u32, u64 } from './struct.ts';

/** For BPF_MAP_CREATE, up to `map_extra`. */
export const BpfMapCreate = struct({
  type: u32,
  keySize: u32,
  valueSize: u32,
  maxEntries: u32,
  flags: u32,
  innerMapFd: u32,
  numaNode: u32,
  name: bytes(16),
  ifindex: u32,
  btfFd: u32,
  btfKeyTypeId: u32,
  btfValueTypeId: u32,
  btfVmlinuxValueTypeId: u32,
  mapExtra: u64,
});

/** For BPF_MAP_LOOKUP_BATCH and BPF_MAP_UPDATE_BATCH; the first four are addresses. */
export const BpfBatch = struct({
  inBatch: u64,
  outBatch: u64,
  keys: u64,
  values: u64,
  count: u32,
  mapFd: u32,
  elemFlags: u64,
  flags: u64,
});

/** For BPF_OBJ_GET_INFO_BY_FD. */
export const BpfInfo = struct({ fd: u32, length: u32, info: u64 });

/** For BPF_PROG_GET_NEXT_ID, BPF_PROG_GET_FD_BY_ID and BPF_MAP_GET_FD_BY_ID. */
export const BpfId = struct({ id: u32, nextId: u32, openFlags: u32 });

/** `struct bpf_map_info` up to `map_extra`. */
export const BpfMapInfo = struct({
  type: u32,
  id: u32,
  keySize: u32,
  valueSize: u32,
  maxEntries: u32,
  flags: u32,
  name: bytes(16),
  ifindex: u32,
  btfVmlinuxValueTypeId: u32,
  netnsDev: u64,
  netnsIno: u64,
  btfId: u32,
  btfKeyTypeId: u32,
  btfValueTypeId: u32,
  btfVmlinuxId: u32,
  mapExtra: u64,
});

/** `struct bpf_prog_info` up to `name`. */
export const BpfProgInfo = struct({
  type: u32,
  id: u32,
  tag: array(u32, 2),
  jitedLength: u32,
  xlatedLength: u32,
  jited: u64,
  xlated: u64,
  loadTime: u64,
  createdBy: u32,
  mapCount: u32,
  mapIds: u64,
  name: bytes(16),
});

/** For BPF_PROG_LOAD, up to `attach_prog_fd`. */
export const BpfProgLoad = struct({
  type: u32,
  insnCount: u32,
  insns: u64,
  license: u64,
  logLevel: u32,
  logSize: u32,
  logBuffer: u64,
  kernelVersion: u32,
  flags: u32,
  name: bytes(16),
  ifindex: u32,
  expectedAttachType: u32,
  btfFd: u32,
  funcInfoRecordSize: u32,
  funcInfo: u64,
  funcInfoCount: u32,
  lineInfoRecordSize: u32,
  lineInfo: u64,
  lineInfoCount: u32,
  attachBtfId: u32,
  attachProgFd: u32,
});

/** For BPF_LINK_CREATE of an iterator. */
export const BpfLinkCreate = struct({
  progFd: u32,
  targetFd: u32,
  attachType: u32,
  flags: u32,
  iterInfo: u64,
  iterInfoLength: u32,
});

/** For BPF_ITER_CREATE. */
export const BpfIterCreate = struct({ linkFd: u32, flags: u32 });

/** `union bpf_iter_link_info` for tasks (since 6.1). */
export const BpfIterTask = struct({ tid: u32, pid: u32, pidFd: u32 });

/** `struct bpf_insn`; `registers` holds the target in its low four bits, and the source. */
export const BpfInstruction = struct({ code: u8, registers: u8, offset: i16, immediate: i32 });
