/**
 * `--network-lock iptables`: the lock that stays when a dump has ended its tree is one of iptables, with the rules CRIU
 * makes, so that each of the two removes what the other has made. The programs are run once for all connections.
 */

import type { LocalFd } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import { logWarn } from '../../../base/log.ts';
import { encodeText } from '../../../base/text.ts';
import { SEEK } from '../../../kernel/constants/files.ts';
import { AF, LOCK_MARK } from '../../../kernel/constants/sockets.ts';
import { memoryFile } from '../../../kernel/files.ts';
import type { InetEnd } from '../../../kernel/netlink/inet-diag.ts';
import { decodeSocketAddress } from '../../../kernel/socket-address.ts';
import { followedStatus } from '../../../kernel/statx.ts';
import { syscall } from '../../../kernel/syscall.ts';
import type { TcpConnection } from '../../../network/connections.ts';

const TOOLS = [
  { family: AF.INET, size: 4, tool: 'iptables' },
  { family: AF.INET6, size: 16, tool: 'ip6tables' },
] as const;

/** The programs that connections need and that are not installed. */
export function missingPrograms(connections: readonly TcpConnection[]): string[] {
  const needed = TOOLS.filter(({ size }) => connections.some(({ local }) => local.address.length === size));
  const dirs = (process.env.PATH ?? '').split(':');
  return needed
    .map(({ tool }) => `${tool}-restore`)
    .filter((name) => !dirs.some((dir) => followedStatus(`${dir}/${name}`)));
}

/**
 * Makes the rules. `alive` is open in the programs as well, so that what depends on it does not vanish before they have
 * done their work if Stasis is killed meanwhile.
 * @throws StasisError if a program fails
 */
export function lockByIptables(connections: readonly TcpConnection[], alive: LocalFd): void {
  for (const { tool, size } of TOOLS) {
    const rules = rulesOf(connections, size);
    if (rules.length > 0)
      restoreRules(
        tool,
        rules.map((rule) => `-I ${rule}`),
        alive,
      );
  }
}

/** Removes those of the rules that are there, as often as they are. What fails is logged. */
export function unlockByIptables(connections: readonly TcpConnection[]): void {
  for (const { tool, size } of TOOLS) {
    const wanted = new Set(rulesOf(connections, size));
    if (wanted.size === 0) continue;
    const there = savedRules(tool).filter((rule) => wanted.has(rule));
    if (there.length === 0) continue;
    try {
      restoreRules(
        tool,
        there.map((rule) => `-D ${rule}`),
      );
    } catch (error) {
      logWarn('iptables.ts', error instanceof Error ? error.message : String(error));
    }
  }
}

/** The rules of one family, two for each connection, in the words of `iptables-save`. */
export function rulesOf(connections: readonly TcpConnection[], size: 4 | 16): string[] {
  const own = connections.filter(({ local }) => local.address.length === size);
  return [
    ...new Set(own.flatMap(({ local, remote }) => [rule('INPUT', remote, local), rule('OUTPUT', local, remote)])),
  ];
}

function rule(chain: string, from: InetEnd, to: InetEnd): string {
  const bits = from.address.length * 8;
  const port = ({ port: [high = 0, low = 0] }: InetEnd): number => (high << 8) | low;
  const ends = `-s ${showAddress(from)}/${bits} -d ${showAddress(to)}/${bits}`;
  const mark = `-m mark ! --mark 0x${LOCK_MARK.toString(16)}`;
  return `${chain} ${ends} -p tcp ${mark} -m tcp --sport ${port(from)} --dport ${port(to)} -j DROP`;
}

function showAddress({ address }: InetEnd): string {
  if (address.length === 4) return address.join('.');
  const decoded = decodeSocketAddress(Uint8Array.of(AF.INET6, 0, 0, 0, 0, 0, 0, 0, ...address));
  return decoded?.family === 'inet6' ? decoded.address : '::';
}

function savedRules(tool: string): string[] {
  const { stdout, status } = childProcess().spawnSync(`${tool}-save`, ['-t', 'filter'], { encoding: 'utf8' });
  return status === 0 ? stdout.split('\n').flatMap((line) => (line.startsWith('-A ') ? [line.slice(3)] : [])) : [];
}

/** Lets the program do all or nothing. Its input is a file, which is whole if Stasis is killed. */
function restoreRules(tool: string, lines: readonly string[], alive?: LocalFd): void {
  const text = encodeText(['*filter', ...lines, 'COMMIT', ''].join('\n'));
  using input = memoryFile('stasis-rules');
  for (let at = 0; at < text.length; ) at += syscall('write', input.number, text.subarray(at), text.length - at);
  syscall('lseek', input.number, 0, SEEK.SET);
  const stdio = [input.number, 'ignore', 'pipe', alive ?? 'ignore'] as const;
  const ended = childProcess().spawnSync(`${tool}-restore`, ['-w', '--noflush'], { stdio: [...stdio] });
  if (ended.status === 0) return;
  const said = ended.error?.message ?? String(ended.stderr).trim();
  throw new StasisError({ kind: 'kernel', code: 'NETWORK_LOCK', resource: `${tool}-restore`, reason: said });
}

/** Not imported at the top: loading it takes a twentieth of a small dump. */
function childProcess(): typeof import('node:child_process') {
  return process.getBuiltinModule('node:child_process');
}
