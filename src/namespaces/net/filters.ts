/**
 * Packet filters and tracked connections of a namespace. What nf_tables has is kept as messages, and for `criu` also
 * as the text of `nft list ruleset`. Rules of the older iptables can only be told by its own programs.
 */
import { StasisError } from '../../base/errors.ts';
import type { NoticeFacts } from '../../base/notice.ts';
import { decodeText, encodeText } from '../../base/text.ts';
import type { ImageSet } from '../../images/image-set.ts';
import type { ImageSetWriter } from '../../images/image-set-writer.ts';
import { imageName, type RawKind } from '../../images/kind.ts';
import { Images } from '../../images/kinds.ts';
import { IPSET_ATTR, IPSET_CMD, IPSET_PROTOCOL, NFNL_SUBSYS_IPSET } from '../../kernel/constants/ipset.ts';
import { NETLINK } from '../../kernel/constants/netlink.ts';
import { disk } from '../../kernel/disk.ts';
import { Nfgenmsg } from '../../kernel/layouts/netlink.ts';
import { encodeAttributes } from '../../kernel/netlink/attributes.ts';
import { attributesOf, textOf as textOfName } from '../../kernel/netlink/rtnetlink.ts';
import { NetlinkError, NetlinkSocket } from '../../kernel/netlink/socket.ts';
import { readTracked, type Tracked, writeTracked } from './conntrack.ts';
import { emptied, hasRules, withoutLockChain, withoutLockTable } from './filter-texts.ts';
import { eraseRuleset, ownedTables, type Ruleset, readRuleset, writeRuleset } from './nftables.ts';
import { joinMessages, splitMessages } from './streams.ts';

/** The two families of iptables, their images, their programs, and the list of tables that are in use. */
const LEGACY = [
  { kind: Images.iptables, tool: 'iptables', list: 'ip_tables_names' },
  { kind: Images.ip6tables, tool: 'ip6tables', list: 'ip6_tables_names' },
] as const;

const TRACKED: readonly { readonly kind: RawKind; readonly what: Tracked }[] = [
  { kind: Images.netnfCt, what: 'connections' },
  { kind: Images.netnfExp, what: 'expectations' },
];

/** What of the packet filters of a namespace cannot be carried. To be called inside of it. */
export function filterObstacles(): StasisError[] {
  const legacy = LEGACY.filter(({ tool, list }) => {
    return tablesInUse(list).length > 0 && legacyProgram(tool, 'save') === undefined;
  });
  return [
    ...legacy.map(({ tool }) =>
      obstacle(`${tool} rules`, `only ${tool}-save can tell them, and it is not installed`, 'install iptables'),
    ),
    ...ownedTables(readRuleset()).map((name) =>
      obstacle(`nf_tables table ${name}`, 'it belongs to a socket of a process and would end with that', undefined),
    ),
    ...setNames().map((name) =>
      obstacle(`IP set ${name}`, 'IP sets are not carried', `ipset destroy ${name}, and make it again afterwards`),
    ),
  ];
}

function obstacle(what: string, reason: string, remedy: string | undefined): StasisError {
  return new StasisError({
    kind: 'unsupported',
    code: 'NETWORK_FILTER',
    resource: `${what} of a network namespace`,
    reason,
    remedy: `${remedy === undefined ? '' : `${remedy}; or `}--empty-ns net, and an action script that fills the namespace`,
  });
}

/** The names of the IP sets of the namespace; none if the kernel has no IP sets. */
function setNames(): string[] {
  using socket = new NetlinkSocket(NETLINK.NETFILTER, 'IP sets');
  const request = joinBytes(
    Nfgenmsg.encode({}),
    encodeAttributes([[IPSET_ATTR.PROTOCOL, Uint8Array.of(IPSET_PROTOCOL)]]),
  );
  try {
    const found = socket.list((NFNL_SUBSYS_IPSET << 8) | IPSET_CMD.LIST, request);
    const names = found.map(({ payload }) => textOfName(attributesOf(Nfgenmsg, payload).get(IPSET_ATTR.SETNAME)) ?? '');
    return [...new Set(names)];
  } catch (error) {
    if (error instanceof NetlinkError) return [];
    throw error;
  }
}

function joinBytes(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/**
 * Saves filters and tracked connections, from inside of the namespace. Returns what CRIU's images have no place for.
 */
export function captureFilters(id: number, images: ImageSetWriter): Ruleset {
  for (const { kind, tool, list } of LEGACY) {
    const program = tablesInUse(list).length > 0 ? legacyProgram(tool, 'save') : undefined;
    const text = program === undefined ? '' : run(program, []);
    if (hasRules(text)) images.put(imageName(kind, id), encodeText(text));
  }
  const ruleset = readRuleset();
  if (ruleset.length > 0 && isInstalled('nft')) {
    images.put(imageName(Images.nftables, id), encodeText(run('nft', ['list', 'ruleset'])));
  }
  captureTracked(id, images);
  return ruleset;
}

/** Saves the tracked connections, from inside of the namespace. */
export function captureTracked(id: number, images: ImageSetWriter): void {
  for (const { kind, what } of TRACKED) {
    const messages = readTracked(what);
    if (messages.length > 0) images.put(imageName(kind, id), joinMessages(messages));
  }
}

/** Makes filters again, from inside of the namespace. `ruleset`: what Stasis' own file has. @throws StasisError */
export function restoreFilters(id: number, images: ImageSet, ruleset: Ruleset | undefined): void {
  for (const { program, text } of savedLegacy(id, images)) run(program, ['-w', '-c'], text);
  if (ruleset) {
    writeRuleset(ruleset);
    return;
  }
  const text = withoutLockTable(textOf(images, Images.nftables, id));
  if (text.trim() === '') return;
  if (!isInstalled('nft')) throw missing('nft', imageName(Images.nftables, id));
  run('nft', ['-f', '-'], text);
}

/** The rules of the older iptables that images have, with the programs that make them. @throws StasisError */
function savedLegacy(id: number, images: ImageSet): { readonly program: string; readonly text: string }[] {
  return LEGACY.flatMap(({ kind, tool }) => {
    const text = withoutLockChain(textOf(images, kind, id));
    if (!hasRules(text)) return [];
    const program = legacyProgram(tool, 'restore');
    if (program === undefined) throw missing(`${tool}-restore`, imageName(kind, id));
    return [{ program, text }];
  });
}

/** Removes the filters that {@link restoreFilters} makes, from inside of the namespace. */
export function removeFilters(id: number, images: ImageSet): void {
  for (const { program, text } of savedLegacy(id, images)) run(program, ['-w'], emptied(text));
  eraseRuleset();
}

/** Makes the tracked connections again, from inside of the namespace. `notice` is told of those that are lost. */
export function restoreTracked(id: number, images: ImageSet, notice: (facts: NoticeFacts) => void): void {
  for (const { kind, what } of TRACKED) {
    const bytes = images.bytes(kind, id);
    const refused = bytes ? writeTracked(what, splitMessages(bytes, imageName(kind, id))) : 0;
    if (refused === 0) continue;
    const reason = `${refused} of the tracked ${what} are lost: the kernel does not take them as it has told them`;
    notice({ resource: imageName(kind, id), reason });
  }
}

function textOf(images: ImageSet, kind: RawKind, id: number): string {
  return decodeText(images.bytes(kind, id) ?? new Uint8Array());
}

function missing(program: string, image: string): StasisError {
  const resource = `${image}: ${program}`;
  return new StasisError({
    kind: 'conflict',
    code: 'NETWORK_FILTER',
    resource,
    reason: 'the program is not installed',
  });
}

/** The names of the tables of the older iptables that the namespace has. */
function tablesInUse(list: string): string[] {
  // The calling thread may be in another namespace than the other threads.
  const text = disk.readText(`/proc/thread-self/net/${list}`);
  return text === undefined ? [] : text.split('\n').filter((name) => name !== '');
}

/** The program that speaks to the older iptables of the kernel; undefined if it is not installed. */
function legacyProgram(tool: string, action: 'save' | 'restore'): string | undefined {
  const legacy = `${tool}-legacy-${action}`;
  if (isInstalled(legacy)) return legacy;
  const plain = `${tool}-${action}`;
  if (!isInstalled(plain)) return undefined;
  return run(plain, ['-V']).includes('nf_tables') ? undefined : plain;
}

function isInstalled(program: string): boolean {
  return childProcess().spawnSync(program, ['--version'], { stdio: 'ignore' }).error === undefined;
}

/** Runs a program and returns what it prints. @throws StasisError with what it says if it fails */
function run(program: string, args: readonly string[], input = ''): string {
  const { stdout, stderr, status, error } = childProcess().spawnSync(program, args, { input, encoding: 'utf8' });
  if (status === 0) return stdout;
  const reason = error ? error.message : stderr.trim() || `it ended with ${status}`;
  throw new StasisError({ kind: 'kernel', code: 'NETWORK_FILTER', resource: program, reason });
}

/** Loaded when it is needed, since that takes longer than a small dump. */
function childProcess(): typeof import('node:child_process') {
  return process.getBuiltinModule('node:child_process');
}
