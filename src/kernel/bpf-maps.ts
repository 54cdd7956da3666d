/** Maps of eBPF by bpf(2): what they are, their contents, and which programs use them. */
import { decodeText } from '../base/text.ts';
import { BPF, BPF_F } from './constants/bpf.ts';
import { Pins } from './ffi.ts';
import { BpfBatch, BpfId, BpfInfo, BpfMapCreate, BpfMapInfo, BpfProgInfo } from './layouts/bpf.ts';
import type { ValueOf } from './layouts/struct.ts';
import { ERRNO, Fd, SyscallError, syscall, trySyscall } from './syscall.ts';

/** What the kernel tells of a map. */
export type MapFacts = ValueOf<typeof BpfMapInfo>;

/** What BPF_MAP_CREATE is asked for. */
export type MapWish = Partial<ValueOf<typeof BpfMapCreate>>;

/** Keys one after the other, and their values in the same order. */
export interface MapContent {
  readonly count: number;
  readonly keys: Uint8Array;
  readonly values: Uint8Array;
}

/** What the kernel tells of the map behind a descriptor. @throws SyscallError */
export function mapFacts(fd: number): MapFacts {
  const info = new Uint8Array(BpfMapInfo.size);
  readInfo(fd, info);
  return BpfMapInfo.decode(info);
}

function readInfo(fd: number, info: Uint8Array): void {
  using pins = new Pins();
  const attr = BpfInfo.encode({ fd, length: info.length, info: BigInt(pins.address(info)) });
  syscall('bpf', BPF.OBJ_GET_INFO_BY_FD, attr, attr.length);
}

/** The text of a field that NUL bytes fill up. */
export function nameIn(field: Uint8Array): string {
  const end = field.indexOf(0);
  return decodeText(end < 0 ? field : field.subarray(0, end));
}

/** Another open file description of a map, for reading and writing unless `flags` say less. @throws SyscallError */
export function openMap(id: number, flags = 0): Fd {
  const attr = BpfId.encode({ id, openFlags: flags });
  return new Fd(syscall('bpf', BPF.MAP_GET_FD_BY_ID, attr, attr.length));
}

/** Makes a map. @throws SyscallError */
export function createMap(wish: MapWish): Fd {
  const attr = BpfMapCreate.encode(wish);
  return new Fd(syscall('bpf', BPF.MAP_CREATE, attr, attr.length));
}

/** No program of a process may write to the map from now on. @throws SyscallError */
export function freezeMap(fd: number): void {
  const attr = new Uint8Array(new Uint32Array([fd]).buffer);
  syscall('bpf', BPF.MAP_FREEZE, attr, attr.length);
}

/** Entries asked for at once. */
const LOT = 4096;

/**
 * All entries of a map. The kernel gives whole buckets of a hash, and says ENOSPC where one does not fit
 * (__htab_map_lookup_and_delete_batch() in kernel/bpf/hashtab.c); then more are asked for. @throws SyscallError
 */
export function readEntries(fd: number, { keySize, valueSize, maxEntries }: MapFacts): MapContent {
  const keys: Uint8Array[] = [];
  const values: Uint8Array[] = [];
  // The place where to go on is a key of an array and a number of 32 bits of a hash.
  const place = new Uint8Array(Math.max(keySize, 4));
  let begun = false;
  let total = 0;
  for (let lot = Math.min(LOT, maxEntries); ; ) {
    const lotKeys = new Uint8Array(lot * keySize);
    const lotValues = new Uint8Array(lot * valueSize);
    const { result, count } = readLot(fd, begun ? place : undefined, place, lotKeys, lotValues, lot);
    if (result === -ERRNO.ENOSPC && lot < maxEntries) {
      lot = Math.min(2 * lot, maxEntries);
      continue;
    }
    if (result < 0 && result !== -ERRNO.ENOENT) throw new SyscallError('bpf', -result);
    begun = true;
    total += count;
    keys.push(lotKeys.subarray(0, count * keySize));
    values.push(lotValues.subarray(0, count * valueSize));
    if (result === -ERRNO.ENOENT) return { count: total, keys: joined(keys), values: joined(values) };
  }
}

function readLot(
  fd: number,
  from: Uint8Array | undefined,
  next: Uint8Array,
  keys: Uint8Array,
  values: Uint8Array,
  count: number,
): { result: number; count: number } {
  using pins = new Pins();
  const at = (buffer: Uint8Array): bigint => BigInt(pins.address(buffer));
  const addresses = { inBatch: from ? at(from) : 0n, outBatch: at(next), keys: at(keys), values: at(values) };
  const attr = BpfBatch.encode({ ...addresses, count, mapFd: fd });
  const result = trySyscall('bpf', BPF.MAP_LOOKUP_BATCH, attr, attr.length);
  return { result, count: result === 0 || result === -ERRNO.ENOENT ? BpfBatch.decode(attr).count : 0 };
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Puts entries into a map. @throws SyscallError */
export function writeEntries(fd: number, { count, keys, values }: MapContent): void {
  if (count === 0) return;
  using pins = new Pins();
  const at = (buffer: Uint8Array): bigint => BigInt(pins.address(buffer));
  const attr = BpfBatch.encode({ keys: at(keys), values: at(values), count, mapFd: fd });
  syscall('bpf', BPF.MAP_UPDATE_BATCH, attr, attr.length);
}

/** A loaded program. */
export interface LoadedProgram {
  readonly id: number;
  readonly name: string;
}

/** The first program of this machine that uses a map; undefined if none does. @throws SyscallError */
export function userOf(mapId: number): LoadedProgram | undefined {
  for (let id = 0; ; ) {
    const attr = BpfId.encode({ id });
    const result = trySyscall('bpf', BPF.PROG_GET_NEXT_ID, attr, attr.length);
    if (result === -ERRNO.ENOENT) return undefined;
    if (result < 0) throw new SyscallError('bpf', -result);
    id = BpfId.decode(attr).nextId;
    const open = BpfId.encode({ id });
    const fd = trySyscall('bpf', BPF.PROG_GET_FD_BY_ID, open, open.length);
    if (fd < 0) continue; // it was unloaded meanwhile
    using program = new Fd(fd);
    const found = mapsOf(program.number);
    if (found.ids.includes(mapId)) return { id, name: found.name };
  }
}

function mapsOf(program: number): { name: string; ids: readonly number[] } {
  const info = new Uint8Array(BpfProgInfo.size);
  readInfo(program, info);
  const { mapCount, name } = BpfProgInfo.decode(info);
  using pins = new Pins();
  const ids = new Uint32Array(mapCount);
  info.fill(0);
  const wish = BpfProgInfo.encode({ mapCount, mapIds: BigInt(pins.address(ids)) });
  readInfo(program, wish);
  return { name: nameIn(name), ids: [...ids] };
}

/** The flags with which a descriptor of a map has this access mode (O_RDONLY, O_WRONLY, O_RDWR). */
export function accessFlags(canRead: boolean, canWrite: boolean): number {
  if (!canWrite) return BPF_F.RDONLY;
  return canRead ? 0 : BPF_F.WRONLY;
}
