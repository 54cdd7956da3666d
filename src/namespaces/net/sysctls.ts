/**
 * Reading and writing the sysctls of a network namespace, from inside: what /proc/sys/net shows depends on the
 * namespace of the thread that looks a name up there (`net_ctl_header_lookup()` in net/sysctl_net.c).
 */

import { decodeText } from '../../base/text.ts';
import type { IdView } from '../../contract/contract.ts';
import { type SysctlEntry, SysctlType } from '../../images/schema/network.ts';
import { O } from '../../kernel/constants/files.ts';
import { DT_DIR, entriesIn, namesIn, tryOpen, tryRead, trySet } from '../../kernel/files.ts';
import { SyscallError, trySyscall } from '../../kernel/syscall.ts';
import { CONF4, CONF6, IPV4, TEXTS, UNIX } from './sysctl-names.ts';

const ROOT = '/proc/sys/net';
/** Larger than any of them; the longest is a bitmap of ports as text. */
const buffer = new Uint8Array(64 * 1024);

/** The value of a sysctl, by its path below `/proc/sys/net`, without the newline; undefined if it cannot be read. */
export function readSysctl(path: string, flags: number = O.RDONLY): string | undefined {
  const fd = tryOpen(`${ROOT}/${path}`, flags);
  if (fd < 0) return undefined;
  const got = tryRead(fd, buffer);
  trySyscall('close', fd);
  return got < 0 ? undefined : decodeText(buffer.subarray(0, got)).trimEnd();
}

/** Sets a sysctl, by its path below `/proc/sys/net`. Returns 0 or -errno. */
export function trySetSysctl(path: string, value: string): number {
  return trySet(`${ROOT}/${path}`, `${value}\n`);
}

/** The two families that have settings for each device, for `default` and for `all`. */
export const FAMILIES = { ipv4: CONF4, ipv6: CONF6 } as const;
export type Family = keyof typeof FAMILIES;

/** The path of a setting of a device below `/proc/sys/net`. */
export function confPath(family: Family, device: string, name: string): string {
  return `${family}/conf/${device}/${name}`;
}

/** The settings of a device, of `default` or of `all`, as images have them; those of another kernel have no value. */
export function readConf(family: Family, device: string): SysctlEntry[] {
  return FAMILIES[family].map((name) => readSetting(confPath(family, device, name), TEXTS.has(name)));
}

/** The settings of unix sockets, as an image has them. */
export function readUnixConf(): SysctlEntry[] {
  const entries = UNIX.map((name) => readSetting(`unix/${name}`, false));
  return entries.some(({ iarg }) => iarg !== undefined) ? entries : [];
}

/**
 * `ping_group_range`, as an image has it: without a value where it is the default, that nobody is allowed. The kernel
 * tells and takes the groups as the reader's user namespace sees them.
 */
export function readIpv4Conf(ids: IdView): SysctlEntry[] {
  const entries = IPV4.map((name) => readSetting(`ipv4/${name}`, true));
  return entries.map(({ type, sarg }) => ({
    type,
    sarg: sarg === undefined || sarg === NO_GROUPS ? undefined : groupRange(sarg, (gid) => ids.gidThere(gid)),
  }));
}

/** A `ping_group_range` with other numbers for its groups. */
export function groupRange(range: string, other: (gid: number) => number): string {
  return range
    .trim()
    .split(/\s+/)
    .map((gid) => other(Number(gid)))
    .join('\t');
}

const NO_GROUPS = '1\t0';

/** A setting by its path, as images have it. */
export function readSetting(path: string, isText: boolean): SysctlEntry {
  const value = readSysctl(path);
  if (isText) return { type: SysctlType.CTL_STR, iarg: undefined, sarg: value };
  return { type: SysctlType.CTL_32, iarg: value === undefined ? undefined : Number(value) | 0, sarg: undefined };
}

/** The value of an entry as it is written; undefined if it has none. */
export function valueIn({ type, iarg, sarg }: SysctlEntry): string | undefined {
  return type === SysctlType.CTL_STR ? sarg : iarg?.toString();
}

/** Directories whose entries are kept elsewhere: those of devices in the images and in {@link readOtherConf}. */
const OF_DEVICES = new Set(['ipv4/conf', 'ipv6/conf', 'ipv4/neigh', 'ipv6/neigh']);

/** Those that images have, and actions, which have no value. */
const KEPT_ELSEWHERE = new Set(['unix/max_dgram_qlen', 'ipv4/ping_group_range']);

/**
 * All settings of the namespace that can be changed and belong to no device, by path; those that CRIU's images have are
 * left out. In a namespace that is not the machine's, the kernel shows only what each namespace has of its own.
 */
export function readOtherSysctls(): Map<string, string> {
  const found = new Map<string, string>();
  collect('', found);
  for (const path of KEPT_ELSEWHERE) found.delete(path);
  return found;
}

function collect(directory: string, into: Map<string, string>): void {
  for (const { name, type } of entriesIn(`${ROOT}/${directory}`)) {
    const path = directory === '' ? name : `${directory}/${name}`;
    if (type === DT_DIR) {
      if (!OF_DEVICES.has(path)) collect(path, into);
      continue;
    }
    // Opening for both refuses what can only be read and what can only be written, such as route/flush.
    const value = readSysctl(path, O.RDWR);
    if (value !== undefined) into.set(path, value);
  }
}

/** What a device has besides the settings in CRIU's images, by path: `ipv4/conf/eth0/arp_evict_nocarrier`, … */
export function readOtherConf(device: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const family of ['ipv4', 'ipv6'] as const) {
    const saved = new Set<string>(FAMILIES[family]);
    for (const directory of [`${family}/conf/${device}`, `${family}/neigh/${device}`]) {
      for (const name of namesBelow(directory)) {
        if (directory.endsWith(`conf/${device}`) && saved.has(name)) continue;
        const value = readSysctl(`${directory}/${name}`, O.RDWR);
        if (value !== undefined) found.set(`${directory}/${name}`, value);
      }
    }
  }
  return found;
}

/** The names in a directory below `/proc/sys/net`; none if it is not there. */
function namesBelow(directory: string): string[] {
  try {
    return namesIn(`${ROOT}/${directory}`);
  } catch (error) {
    if (error instanceof SyscallError) return [];
    throw error;
  }
}
