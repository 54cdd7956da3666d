/** How much more memory tasks may need: on the machine, and in the memory cgroups they are in. */
import type { HostPid } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import { latin1 } from '../../kernel/proc/common.ts';
import { readProcIfAny, readSystem } from '../../kernel/proc/read.ts';

/** What a version of cgroups calls its files; all values are bytes. */
interface Names {
  /** Where its hierarchy is mounted by convention. */
  readonly root: string;
  readonly limit: string;
  readonly usage: string;
  /** The line of memory.stat for the page cache that the kernel gives up first. */
  readonly cache: string;
}

const UNIFIED: Names = {
  root: '/sys/fs/cgroup',
  limit: 'memory.max',
  usage: 'memory.current',
  cache: 'inactive_file',
};
const V1: Names = {
  root: '/sys/fs/cgroup/memory',
  limit: 'memory.limit_in_bytes',
  usage: 'memory.usage_in_bytes',
  cache: 'total_inactive_file',
};

/** Bytes that a task can still be given before the kernel has to look for victims. What cannot be read is no limit. */
export function roomFor(pid: HostPid): number {
  const lines = textOf(readProcIfAny(pid, 'cgroup')).split('\n');
  const rooms = lines.flatMap((line) => {
    const [, controllers = '', ...path] = line.split(':');
    if (path.length === 0) return [];
    const isV1 = controllers.split(',').includes('memory');
    return isV1 || controllers === '' ? [roomIn(isV1 ? V1 : UNIFIED, path.join(':'))] : [];
  });
  return Math.min(available(), ...rooms);
}

/** MemAvailable: what can be given without swapping (proc_meminfo(5)). */
function available(): number {
  const found = /^MemAvailable:\s+(\d+) kB/m.exec(textOf(readSystem('/proc/meminfo')));
  return found ? Number(found[1]) * 1024 : Number.POSITIVE_INFINITY;
}

/** The least room in a cgroup and those around it. */
function roomIn(names: Names, path: string): number {
  let room = Number.POSITIVE_INFINITY;
  for (let at = path; at.length > 1; at = at.slice(0, at.lastIndexOf('/'))) {
    const limit = numberIn(`${names.root}${at}/${names.limit}`);
    if (limit === undefined) continue;
    const usage = numberIn(`${names.root}${at}/${names.usage}`) ?? 0;
    const cache = new RegExp(`^${names.cache} (\\d+)$`, 'm').exec(systemText(`${names.root}${at}/memory.stat`));
    room = Math.min(room, Math.max(0, limit - usage + Number(cache?.[1] ?? 0)));
  }
  return room;
}

/** The number in a file; undefined if there is no such file, or the word `max` in it. */
function numberIn(path: string): number | undefined {
  const text = systemText(path).trim();
  return /^\d+$/.test(text) ? Number(text) : undefined;
}

/** Empty if it cannot be read. */
function systemText(path: string): string {
  try {
    return textOf(readSystem(path));
  } catch (error) {
    if (error instanceof StasisError) return '';
    throw error;
  }
}

const textOf = (bytes: Uint8Array | undefined): string => (bytes ? latin1(bytes) : '');
