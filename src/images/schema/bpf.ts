/** BPF maps. */

import { bool, message, nested, optional, sint32, type TypeOf, text, uint32, uint64 } from '../message.ts';
import { fownEntry } from './common.ts';

/** A descriptor of a BPF map, with the map's own properties. */
export const bpfmapFileEntry = message('bpfmap_file_entry', () => ({
  id: uint32(1),
  flags: uint32(2, 'rfile.flags'),
  pos: uint64(3),
  fown: nested(4, fownEntry),
  map_type: uint32(5),
  key_size: uint32(6),
  value_size: uint32(7),
  map_id: uint32(8),
  max_entries: uint32(9),
  map_flags: uint32(10),
  memlock: uint64(11),
  frozen: bool(12),
  map_name: text(13),
  ifindex: uint32(14),
  mnt_id: optional(sint32(15), -1),
  map_extra: optional(uint64(16)),
}));
export type BpfmapFileEntry = TypeOf<typeof bpfmapFileEntry>;

/** `bpfmap-data.img`: says how many bytes of keys and values follow. */
export const bpfmapDataEntry = message('bpfmap_data_entry', () => ({
  map_id: uint32(1),
  keys_bytes: uint32(2),
  values_bytes: uint32(3),
  count: uint32(4),
}));
export type BpfmapDataEntry = TypeOf<typeof bpfmapDataEntry>;
