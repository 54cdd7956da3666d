/** The dump as a whole: its properties, its processes, its statistics. */

import {
  bool,
  enumerated,
  message,
  nested,
  optional,
  repeated,
  type TypeOf,
  text,
  uint32,
  uint64,
} from '../message.ts';
import { taskKobjIdsEntry } from './task.ts';

/** The security module of the dumping machine. */
export const Lsmtype = {
  NO_LSM: 0,
  SELINUX: 1,
  APPARMOR: 2,
} as const;

/** Names of plugins that took part. */
export const pluginsEntry = message('plugins_entry', () => ({
  plugins: repeated(text(12)),
}));
export type PluginsEntry = TypeOf<typeof pluginsEntry>;

/** `inventory.img`: properties of the dump as a whole. */
export const inventoryEntry = message('inventory_entry', () => ({
  img_version: uint32(1),
  fdinfo_per_id: optional(bool(2)),
  root_ids: optional(nested(3, taskKobjIdsEntry)),
  ns_per_id: optional(bool(4)),
  root_cg_set: optional(uint32(5)),
  lsmtype: optional(enumerated(6, Lsmtype)),
  dump_uptime: optional(uint64(8)),
  pre_dump_mode: optional(uint32(9)),
  tcp_close: optional(bool(10)),
  network_lock_method: optional(uint32(11)),
  plugins_entry: optional(nested(12, pluginsEntry)),
  dump_criu_run_id: optional(text(13)),
  allow_uprobes: optional(bool(14)),
}));
export type InventoryEntry = TypeOf<typeof inventoryEntry>;

/** `pstree.img`: one process and its threads, parents before children. */
export const pstreeEntry = message('pstree_entry', () => ({
  pid: uint32(1),
  ppid: uint32(2),
  pgid: uint32(3),
  sid: uint32(4),
  threads: repeated(uint32(5)),
}));
export type PstreeEntry = TypeOf<typeof pstreeEntry>;

/** Statistics of a dump: times in microseconds, counts of pages. */
export const dumpStatsEntry = message('dump_stats_entry', () => ({
  freezing_time: uint32(1),
  frozen_time: uint32(2),
  memdump_time: uint32(3),
  memwrite_time: uint32(4),
  pages_scanned: uint64(5),
  pages_skipped_parent: uint64(6),
  pages_written: uint64(7),
  irmap_resolve: optional(uint32(8)),
  pages_lazy: uint64(9),
  page_pipes: optional(uint64(10)),
  page_pipe_bufs: optional(uint64(11)),
  shpages_scanned: optional(uint64(12)),
  shpages_skipped_parent: optional(uint64(13)),
  shpages_written: optional(uint64(14)),
}));
export type DumpStatsEntry = TypeOf<typeof dumpStatsEntry>;

/** Statistics of a restore: times in microseconds, counts of pages. */
export const restoreStatsEntry = message('restore_stats_entry', () => ({
  pages_compared: uint64(1),
  pages_skipped_cow: uint64(2),
  forking_time: uint32(3),
  restore_time: uint32(4),
  pages_restored: optional(uint64(5)),
}));
export type RestoreStatsEntry = TypeOf<typeof restoreStatsEntry>;

/** `stats-dump`, `stats-restore`. */
export const statsEntry = message('stats_entry', () => ({
  dump: optional(nested(1, dumpStatsEntry)),
  restore: optional(nested(2, restoreStatsEntry)),
}));
export type StatsEntry = TypeOf<typeof statsEntry>;
