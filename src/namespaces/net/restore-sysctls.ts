/**
 * Sets the sysctls of a network namespace, from inside. As long as devices are made, new ones get no address by
 * themselves and do not look for duplicates of those they are given (duplicate address detection), which would keep
 * addresses of IPv6 from being used for seconds; in the end both are as they were.
 */
import { StasisError } from '../../base/errors.ts';
import type { NoticeFacts } from '../../base/notice.ts';
import type { IdView } from '../../contract/contract.ts';
import type { NetnsEntry, SysctlEntry } from '../../images/schema/network.ts';
import { IN6_ADDR_GEN_MODE } from '../../kernel/constants/rtnetlink.ts';
import { describeErrno, ERRNO } from '../../kernel/syscall.ts';
import type { SavedLink, SavedNetwork } from './saved-network.ts';
import { IPV4, UNIX } from './sysctl-names.ts';
import { confPath, FAMILIES, type Family, groupRange, readSysctl, trySetSysctl, valueIn } from './sysctls.ts';

/** Settings of devices that hold from the end on, not while devices are made. */
const LAST: ReadonlySet<string> = new Set(['accept_dad', 'addr_gen_mode']);

/** How settings that this kernel does not take are dealt with. */
export interface SysctlManner {
  /** `--weak-sysctls`: those of CRIU's images may be missing. */
  readonly weak: boolean;
  /** Groups as the images hold them. */
  readonly ids: IdView;
  notice(facts: NoticeFacts): void;
}

/** Sets what belongs to no device, and what new devices begin with. @throws StasisError */
export function beginSysctls(saved: SavedNetwork, manner: SysctlManner): void {
  const { netns, sysctls } = saved;
  // ip_forward sets the setting `forwarding` of all devices, so it comes first.
  for (const [path, value] of Object.entries(sysctls)) {
    if (!isOfDevice(path)) setOther(path, value, manner);
  }
  for (const target of ['all', 'default'] as const) {
    for (const family of ['ipv4', 'ipv6'] as const) {
      setConf(family, target, savedConf(netns, family, target), undefined, manner);
      setOtherConf(saved, family, target, manner);
    }
  }
  set4List(netns?.unix_conf ?? [], UNIX, 'unix', manner);
  const ranges = (netns?.ipv4_sysctl ?? []).map((entry) => ({
    ...entry,
    sarg: entry.sarg === undefined ? undefined : groupRange(entry.sarg, (gid) => manner.ids.gidHere(gid)),
  }));
  set4List(ranges, IPV4, 'ipv4', manner);
  for (const target of ['all', 'default']) trySetSysctl(confPath('ipv6', target, 'accept_dad'), '0');
  trySetSysctl(confPath('ipv6', 'default', 'addr_gen_mode'), String(IN6_ADDR_GEN_MODE.NONE));
}

/**
 * Sets what a device has of its own, before it is up. `fresh`: what new devices of its kind begin with; undefined for
 * one that was there before. @throws StasisError
 */
export function setDeviceSysctls(
  saved: SavedNetwork,
  { entry }: SavedLink,
  fresh: FreshSettings | undefined,
  manner: SysctlManner,
): void {
  for (const family of ['ipv4', 'ipv6'] as const) {
    // A device that was there before `default` was set has not got its settings from there.
    const inherited = fresh && savedConf(saved.netns, family, 'default');
    setConf(family, entry.name, family === 'ipv4' ? entry.conf4 : entry.conf6, inherited, manner);
    setOtherConf(saved, family, entry.name, manner, fresh);
  }
}

/** Sets what had to wait until all devices have their addresses. */
export function endSysctls({ netns, links, sysctls }: SavedNetwork): void {
  const at = FAMILIES.ipv6.indexOf('accept_dad');
  const mtuAt = FAMILIES.ipv6.indexOf('mtu');
  const targets = [
    { name: 'all', conf: netns?.all_conf6 },
    { name: 'default', conf: netns?.def_conf6 },
    ...links.map(({ entry }) => ({ name: entry.name, conf: entry.conf6 })),
  ];
  for (const { name, conf } of targets) {
    const value = conf?.[at];
    settle(confPath('ipv6', name, 'accept_dad'), value && valueIn(value));
    // A change of the device's own MTU, or of disable_ipv6, changes this one.
    const mtu = conf?.[mtuAt];
    if (name !== 'all' && name !== 'default') settle(confPath('ipv6', name, 'mtu'), mtu && valueIn(mtu));
  }
  settle(
    confPath('ipv6', 'default', 'addr_gen_mode'),
    sysctls['ipv6/conf/default/addr_gen_mode'] ?? String(IN6_ADDR_GEN_MODE.EUI64),
  );
}

/** Sets a setting unless it has this value. Returns 0 or -errno. */
function settle(path: string, value: string | undefined): number {
  if (value === undefined) return 0;
  const now = readSysctl(path);
  return now === value || (now === undefined && value === '') ? 0 : trySetSysctl(path, value);
}

function savedConf(netns: NetnsEntry | undefined, family: Family, target: 'all' | 'default'): readonly SysctlEntry[] {
  if (!netns) return [];
  if (family === 'ipv4') return target === 'all' ? netns.all_conf4 : netns.def_conf4;
  return target === 'all' ? netns.all_conf6 : netns.def_conf6;
}

/** Sets those of the settings of a device that it has not inherited. */
function setConf(
  family: Family,
  device: string,
  conf: readonly SysctlEntry[],
  inherited: readonly SysctlEntry[] | undefined,
  manner: SysctlManner,
): void {
  const names = FAMILIES[family];
  // What is set here follows from `forwarding` unless it is set afterwards.
  const order = [...conf.keys()].sort((a, b) => Number(isDependent(names[a])) - Number(isDependent(names[b])));
  for (const i of order) {
    const [name, entry] = [names[i], conf[i]];
    const value = entry && valueIn(entry);
    if (name === undefined || value === undefined || LAST.has(name) || name === 'mtu') continue;
    const other = inherited?.[i];
    if (other && valueIn(other) === value) continue;
    setRequired(confPath(family, device, name), value, manner);
  }
}

function isDependent(name: string | undefined): boolean {
  return name === 'accept_redirects';
}

function set4List(entries: readonly SysctlEntry[], names: readonly string[], directory: string, manner: SysctlManner) {
  for (const [i, entry] of entries.entries()) {
    const value = valueIn(entry);
    const name = names[i];
    if (value !== undefined && name !== undefined) setRequired(`${directory}/${name}`, value.trimEnd(), manner);
  }
}

function setRequired(path: string, value: string, { weak }: SysctlManner): void {
  const result = settle(path, value);
  if (result === 0 || (weak && result === -ERRNO.ENOENT)) return;
  throw new StasisError({
    kind: 'kernel',
    code: 'NETWORK_SYSCTL',
    resource: `sysctl net/${path}`,
    reason: `it cannot be set to ${value}: ${describeErrno(-result)}`,
    remedy: result === -ERRNO.ENOENT ? '--weak-sysctls passes over settings that this kernel does not have' : undefined,
  });
}

/** Sets a setting that only Stasis' own file has. */
function setOther(path: string, value: string, { notice }: SysctlManner): void {
  const result = settle(path, value);
  if (result === 0) return;
  const reason = `the setting of the network namespace is lost: it cannot be set to ${value}: ${describeErrno(-result)}`;
  notice({ resource: `sysctl net/${path}`, reason });
}

function isOfDevice(path: string): boolean {
  return /^ipv[46]\/(conf|neigh)\//.test(path);
}

/** Sets what CRIU's images do not have of a device, where it is not as in `default` or with all new ones (`fresh`). */
function setOtherConf(
  { sysctls, ofDirectory }: SavedNetwork,
  family: Family,
  device: string,
  manner: SysctlManner,
  fresh?: FreshSettings,
): void {
  for (const directory of ['conf', 'neigh'] as const) {
    const saved = ofDirectory.get(`${family}/${directory}/${device}`) ?? [];
    if (fresh && directory === 'neigh' && fresh.has(`${family}/neigh`, device, saved)) continue;
    for (const [name, value] of saved) {
      if (LAST.has(name)) continue;
      const inherited = fresh ? sysctls[`${family}/${directory}/default/${name}`] : undefined;
      if (inherited !== value) setOther(`${family}/${directory}/${device}/${name}`, value, manner);
    }
  }
}

/**
 * The settings below `neigh` that new devices of one kind begin with. Those of the machine decide, which has them in no
 * directory of another network namespace (neigh_parms_alloc() in net/core/neighbour.c), so they are read from the first
 * device.
 */
export class FreshSettings {
  readonly #values = new Map<string, string | undefined>();

  /** Whether a device of which nothing has been set has these already. */
  has(directory: string, device: string, settings: readonly (readonly [name: string, value: string])[]): boolean {
    return settings.every(([name, value]) => {
      const key = `${directory}/${name}`;
      if (!this.#values.has(key)) this.#values.set(key, readSysctl(`${directory}/${device}/${name}`));
      return this.#values.get(key) === value;
    });
  }
}
