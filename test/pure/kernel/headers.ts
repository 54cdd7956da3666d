/** Asks the C compiler what the installed headers make of expressions. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Headers that go together. Those of the kernel and those of the C library contradict each other. */
const GROUPS: readonly (readonly string[])[] = [
  [
    ...['fcntl', 'stat', 'fs', 'memfd', 'falloc', 'kcmp', 'mman', 'prctl', 'securebits', 'personality', 'ptrace'],
    ...['elf', 'wait', 'sched', 'sched/types', 'ioprio', 'time', 'time_types', 'resource', 'capability', 'auxvec'],
    ...[
      'rseq',
      'seccomp',
      'keyctl',
      'membarrier',
      'ipc',
      'shm',
      'sem',
      'msg',
      'utsname',
      'mqueue',
      'eventpoll',
      'eventfd',
      'timerfd',
      'inotify',
    ],
    ...[
      'fanotify',
      'mount',
      'netlink',
      'fiemap',
      'uio',
      'futex',
      'signal',
      'poll',
      'aio_abi',
      'userfaultfd',
      'landlock',
    ],
    ...[
      'mempolicy',
      'magic',
      'major',
      'btf',
      'filter',
      'audit',
      'pidfd',
      'errno',
      'virtio_net',
      'net_tstamp',
      'nsfs',
      'ioctl',
    ],
  ]
    .map((name) => `linux/${name}.h`)
    .concat(
      ['ioctls', 'termbits', 'signal', 'siginfo', 'socket', 'prctl', 'auxvec', 'unistd'].map((name) => `asm/${name}.h`),
      'asm-generic/termios.h',
    ),
  ['linux/bpf.h'],
  ['in', 'in6', 'tcp', 'udp', 'icmp', 'sockios', 'un'].map((name) => `linux/${name}.h`),
  ['netlink', 'sock_diag', 'unix_diag', 'packet_diag', 'netlink_diag', 'inet_diag', 'rtnetlink', 'if_link', 'veth']
    .concat('net_namespace', 'if_packet', 'if_tun', 'sockios', 'netfilter', 'netfilter/nfnetlink')
    .concat(
      'netfilter/nf_tables',
      'if',
      'ioctl',
      'if_addr',
      'if_arp',
      'if_bonding',
      'neighbour',
      'nexthop',
      'fib_rules',
      'netfilter/nfnetlink_conntrack',
      'netfilter/ipset/ip_set',
    )
    .concat('netfilter/nf_conntrack_tcp')
    .map((name) => `linux/${name}.h`)
    .concat('asm/ioctls.h'),
  ['linux/io_uring.h'],
  ['sys/socket.h', 'sys/uio.h', 'netinet/in.h', 'netinet/tcp.h', 'netinet/udp.h', 'unistd.h', 'fcntl.h', 'signal.h']
    .concat('sched.h', 'elf.h', 'poll.h', 'errno.h', 'sys/un.h', 'linux/netlink.h', 'linux/if_packet.h')
    .concat('linux/errqueue.h', 'sys/ioctl.h', 'sys/eventfd.h', 'sys/timerfd.h', 'sys/user.h'),
];

/** Whether there is a compiler. */
export const HAS_COMPILER = spawnSync('gcc', ['--version']).status === 0;

/** The version of the kernel that the headers are of: `6.1` is 601. */
export function headerVersion(): number {
  const code = Number(askGroup(['linux/version.h'], ['LINUX_VERSION_CODE']).get('LINUX_VERSION_CODE') ?? 0);
  return (code >> 16) * 100 + ((code >> 8) & 255);
}

/** The values of integer expressions; those that no group of headers knows are missing. */
export function askHeaders(expressions: readonly string[]): Map<string, bigint> {
  const found = new Map<string, bigint>();
  for (const headers of GROUPS) {
    const left = [...new Set(expressions)].filter((expression) => !found.has(expression));
    for (const [expression, value] of askGroup(headers, left)) found.set(expression, value);
  }
  return found;
}

const PROLOGUE = ['int printf(const char *, ...);', 'int main(void) {'];
const WORDS_OF_C = new Set(['sizeof', 'struct', 'union', '__builtin_offsetof']);
const IDENTIFIER = /\b[A-Za-z_]\w*/g;

function askGroup(headers: readonly string[], expressions: readonly string[]): Map<string, bigint> {
  const dir = mkdtempSync(join(tmpdir(), 'stasis-headers-'));
  const source = join(dir, 'probe.c');
  try {
    // The compiler takes long over a name that it does not know.
    writeFileSync(source, program(headers, []));
    const words = new Set(gcc(['-E', '-dD', source]).stdout.match(IDENTIFIER));
    const isKnown = (word: string): boolean => words.has(word) || WORDS_OF_C.has(word);
    // What it complains of is left out, until it does not complain any more.
    let left = expressions.filter((expression) => (expression.match(IDENTIFIER) ?? []).every(isKnown));
    while (left.length > 0) {
      writeFileSync(source, program(headers, left));
      const built = gcc(['-w', '-Werror=implicit-function-declaration', '-o', join(dir, 'probe'), source]);
      if (built.status === 0) return valuesOf(join(dir, 'probe'), left);
      const bad = new Set([...built.stderr.matchAll(/probe\.c:(\d+):\d+: error/g)].map(([, line]) => Number(line)));
      const first = 1 + headers.length * 3 + PROLOGUE.length + 1;
      const kept = left.filter((_, i) => !bad.has(first + i));
      if (kept.length === left.length) throw new Error(built.stderr);
      left = kept;
    }
    return new Map();
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

const gcc = (args: readonly string[]) => spawnSync('gcc', args, { encoding: 'utf8', maxBuffer: 1 << 28 });

function program(headers: readonly string[], expressions: readonly string[]): string {
  return [
    '#define _GNU_SOURCE',
    ...headers.flatMap((header) => [`#if __has_include(<${header}>)`, `#include <${header}>`, '#endif']),
    ...PROLOGUE,
    ...expressions.map((expression) => `printf("%lld\\n", (long long)(${expression}));`),
    '}',
    '',
  ].join('\n');
}

function valuesOf(probe: string, expressions: readonly string[]): Map<string, bigint> {
  const lines = spawnSync(probe, { encoding: 'utf8', maxBuffer: 1 << 28 })
    .stdout.trim()
    .split('\n');
  return new Map(expressions.map((expression, i) => [expression, BigInt(lines[i] ?? 0)]));
}
