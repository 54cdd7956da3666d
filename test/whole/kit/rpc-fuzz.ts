/**
 * Gives the RPC mutated requests, all in one process, and looks at every answer: `bun test/whole/kit/rpc-fuzz.ts COUNT
 * [SEED]`. The process has no user, no capabilities and no right to write but in a folder of its own. So whatever a
 * mutated request asks for is refused, at the latest when it comes to privileges.
 */
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, openSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeMessage, encodeMessage } from '../../../src/images/codec.ts';
import { CriuReqType, type CriuResp, criuReq, criuResp } from '../../../src/images/schema/rpc.ts';
import { PR } from '../../../src/kernel/constants/prctl.ts';
import { AF, MSG, SHUT, SOCK } from '../../../src/kernel/constants/sockets.ts';
import { socketPair } from '../../../src/kernel/sockets.ts';
import { syscall, trySyscall } from '../../../src/kernel/syscall.ts';
import { Channel } from '../../../src/rpc/channel.ts';
import type { Rights } from '../../../src/rpc/client-rights.ts';
import type { Origin } from '../../../src/rpc/fields.ts';
import { serve } from '../../../src/rpc/serve.ts';
import { damages, generator } from '../../pure/damage.ts';

const NOBODY = 65534;
/** A process ID that nobody has. */
const NOWHERE = 4_194_303;
const LONGEST_TEXT = 900;

/** Requests as engines send them, to be mutated. */
function seeds(images_dir: string, images_dir_fd: number): Uint8Array[] {
  const place = { images_dir_fd, work_dir_fd: images_dir_fd, log_file: 'dump.log', log_level: 4 };
  const container = {
    ...place,
    pid: NOWHERE,
    notify_scripts: true,
    root: '/nowhere/rootfs',
    ext_mnt: [
      { key: '/etc/hosts', val: '/etc/hosts' },
      { key: 'console', val: '' },
    ],
    cg_root: [{ ctrl: 'cpu,cpuacct', path: '/a' }, { path: '/b' }],
    inherit_fd: [{ key: 'pipe:[17]', fd: 1 }],
    external: ['net[4026532321]:extRootNetNS', 'veth[eth0]:x@y'],
    join_ns: [{ ns: 'net', ns_file: '/nowhere/ns', extra_opt: '1,2' }],
    unix_sk_ino: [{ inode: 5 }],
    ext_unix_sk: true,
    veths: [{ if_in: 'a', if_out: 'b' }],
    enable_fs: ['hugetlbfs,tracefs'],
    exec_cmd: ['true'],
    empty_ns: 0x40000000,
    manage_cgroups: true,
    manage_cgroups_mode: 4,
    network_lock: 2,
    ps: { address: '127.0.0.1', port: 9, fd: 4 },
    orphan_pts_master: true,
    config_file: '/nowhere/runc.conf',
  };
  const { DUMP, RESTORE, CHECK, VERSION, FEATURE_CHECK, WAIT_PID, PRE_DUMP, PAGE_SERVER } = CriuReqType;
  const features = { mem_track: true, lazy_pages: true, pidfd_store: false };
  return [
    { type: DUMP, opts: container },
    { type: RESTORE, opts: container },
    { type: DUMP, opts: { images_dir_fd: -1, images_dir, log_file: 'dump.log', pid: NOWHERE } },
    { type: RESTORE, opts: { ...place, rst_sibling: true } },
    { type: CHECK, opts: place },
    { type: FEATURE_CHECK, features, opts: container },
    { type: VERSION, keep_open: true },
    { type: WAIT_PID, pid: 1 },
    { type: PRE_DUMP, opts: place },
    { type: PAGE_SERVER, opts: container },
  ].map((request) => encodeMessage(criuReq, request));
}

/** Sends bytes to a server of their own; all that it answers. */
async function answers(bytes: Uint8Array, origin: Origin, rights: Rights): Promise<CriuResp[]> {
  const [ours, theirs] = socketPair(AF.UNIX, SOCK.SEQPACKET);
  using client = ours;
  syscall('sendto', client.number, bytes, bytes.length, 0, 0, 0);
  // There is no second request, so that the server comes to its end.
  syscall('shutdown', client.number, SHUT.WR);
  using channel = new Channel(theirs.release());
  await serve(channel, { pid: process.pid, origin, rights });
  const found: CriuResp[] = [];
  const buffer = new Uint8Array(64 * 1024);
  for (;;) {
    const length = trySyscall('recvfrom', client.number, buffer, buffer.length, MSG.DONTWAIT, 0, 0);
    if (length <= 0) return found;
    found.push(decodeMessage(criuResp, buffer.slice(0, length)));
  }
}

/** What is wrong with the answers to one request; undefined: nothing. */
function complaint(found: readonly CriuResp[]): string | undefined {
  const [answer, ...more] = found;
  if (!answer || more.length > 0) return `${found.length} answers`;
  const { success, cr_errmsg: text = '' } = answer;
  if (success) return text === '' ? undefined : 'granted, with an error';
  if (text === '') return 'refused without a reason';
  if (Buffer.byteLength(text) > LONGEST_TEXT) return `an error of ${Buffer.byteLength(text)} bytes`;
  return /\n\s+at |unexpected:|mistake in Stasis/.test(text) ? text : undefined;
}

async function main(count: number, seed: number): Promise<void> {
  const parent = mkdtempSync(join(existsSync('/run') ? '/run' : tmpdir(), 'stasis-fuzz-'));
  const images = join(parent, 'images');
  mkdirSync(images);
  chmodSync(parent, 0o755);
  chownSync(images, NOBODY, NOBODY);
  process.on('exit', () => {
    trySyscall('setresuid', 0, 0, 0);
    process.chdir('/');
    rmSync(parent, { recursive: true });
  });
  const bases = seeds(images, openSync(images, 'r'));
  await answers(bases[0] as Uint8Array, 'service', 'dump'); // whatever is loaded late is loaded now
  syscall('setgroups', 0, 0);
  // The saved user stays root, to clean up; the capabilities in effect are gone.
  syscall('setresgid', NOBODY, NOBODY, NOBODY);
  syscall('setresuid', NOBODY, NOBODY, 0);
  trySyscall('prctl', PR.SET_DUMPABLE, 1, 0, 0, 0);
  const random = generator(seed);
  const descriptors = (): number => readdirSync('/proc/self/fd').length;
  const counts = { granted: 0, refused: 0 };
  const before = { descriptors: descriptors(), rss: process.memoryUsage.rss() };
  for (let round = 0; round < count; round++) {
    let bytes = bases[random(bases.length)] as Uint8Array;
    for (let times = 1 + random(3); times > 0 && bytes.length > 0; times--) {
      bytes = damages[random(damages.length)]?.(bytes, random) ?? bytes;
    }
    // An empty packet is the same as the end of the connection.
    if (bytes.length === 0) continue;
    const found = await answers(
      bytes,
      random(2) === 0 ? 'parent' : 'service',
      (['all', 'restore', 'dump'] as const)[random(3)] ?? 'all',
    );
    const wrong = complaint(found);
    if (wrong !== undefined) throw new Error(`round ${round}: ${wrong}\n${Buffer.from(bytes).toString('hex')}`);
    counts[found[0]?.success ? 'granted' : 'refused']++;
  }
  const grown = { descriptors: descriptors() - before.descriptors, rss: process.memoryUsage.rss() - before.rss };
  console.log(JSON.stringify({ seed, ...counts, grown }));
}

await main(Number(process.argv[2] ?? 100_000), Number(process.argv[3] ?? 1));
