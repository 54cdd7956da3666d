/** What a tree needs on the machine it moves to: found at the source, examined at the target. */
import { StasisError } from '../../base/errors.ts';
import type { OpenFile, SeenTask, SeenTree } from '../../contract/contract.ts';
import { O, S_IF } from '../../kernel/constants/files.ts';
import { AF, SO, SOCK } from '../../kernel/constants/sockets.ts';
import { disk } from '../../kernel/disk.ts';
import { namespaceOf } from '../../kernel/namespace.ts';
import { pidInUse } from '../../kernel/pid-in-use.ts';
import { isUnused } from '../../kernel/proc/holders.ts';
import { decodeSocketAddress } from '../../kernel/socket-address.ts';
import { rawAddress } from '../../kernel/socket-facts.ts';
import { getNumberIfAny } from '../../kernel/sockets.ts';
import { followedStatus } from '../../kernel/statx.ts';
import { describeErrno, ERRNO, Fd, trySyscall } from '../../kernel/syscall.ts';
import { sockaddrOfEnd } from '../../network/end-fields.ts';
import { parseInetAddress } from '../../network/inet-address.ts';
import type { NeededAddress, NeededFile, Needs } from './messages.ts';

/** Paths below these are the kernel's, and are there on every machine. */
const OF_KERNEL = /^\/(proc|sys|dev)(\/|$)/;

/** What a running tree needs. `hashes`: also the contents of files that it does not write. */
export function needsOf(tree: SeenTree, hashes: boolean): Needs {
  const { root, tasks } = tree;
  const isOurs = (type: 'pid' | 'mnt' | 'net'): boolean => namespaceOf(root.pid, type) === namespaceOf('self', type);
  return {
    pids: isOurs('pid') ? tasks.flatMap(({ threads }) => threads.map(({ tid }) => tid as number)) : [],
    files: isOurs('mnt') && tree.options.root === undefined ? filesOf(tasks, hashes) : [],
    addresses: isOurs('net') ? addressesOf(tasks) : [],
  };
}

function filesOf(tasks: readonly SeenTask[], hashes: boolean): NeededFile[] {
  const found = new Map<string, { readonly isWritten: boolean }>();
  const add = (path: string, isWritten: boolean): void => {
    if (!path.startsWith('/') || path.endsWith(' (deleted)') || OF_KERNEL.test(path)) return;
    found.set(path, { isWritten: isWritten || (found.get(path)?.isWritten ?? false) });
  };
  for (const { pid, vmas, fds } of tasks) {
    for (const { name, ino } of vmas) if (Number(ino) !== 0) add(name, false);
    for (const file of fds) add(file.link, (file.flags & O.ACCMODE) !== O.RDONLY);
    for (const place of ['cwd', 'exe']) add(linkOf(pid, place), false);
  }
  return [...found].flatMap(([path, { isWritten }]) => {
    const status = followedStatus(path);
    const type = status && status.mode & S_IF.MT;
    if (type === S_IF.DIR) return [{ path }];
    // What else has a path (sockets, FIFOs) its kind makes, or misses, itself.
    if (!status || type !== S_IF.REG) return [];
    if (isWritten) return [{ path }];
    return [{ path, size: status.size, ...(hashes ? { hash: hashOf(path) } : {}) }];
  });
}

function linkOf(pid: number, name: string): string {
  const { readlinkSync } = process.getBuiltinModule('node:fs');
  try {
    return readlinkSync(`/proc/${pid}/${name}`);
  } catch {
    return ''; // it has ended meanwhile
  }
}

function hashOf(path: string): string | undefined {
  const { openSync, readSync, closeSync } = process.getBuiltinModule('node:fs');
  const hash = process.getBuiltinModule('node:crypto').createHash('sha256');
  const piece = new Uint8Array(1 << 20);
  try {
    const fd = openSync(path, 'r');
    for (let got = 1; got > 0; ) {
      got = readSync(fd, piece);
      hash.update(piece.subarray(0, got));
    }
    closeSync(fd);
  } catch {
    return undefined;
  }
  return hash.digest('hex');
}

function addressesOf(tasks: readonly SeenTask[]): NeededAddress[] {
  const found = new Map<string, NeededAddress>();
  for (const { fds } of tasks) {
    for (const file of fds) {
      const address = addressOf(file);
      if (address) found.set(JSON.stringify(address), address);
    }
  }
  return [...found.values()];
}

function addressOf(file: OpenFile): NeededAddress | undefined {
  const { local } = file;
  const domain = file.socketDomain();
  if (domain !== AF.INET && domain !== AF.INET6) return undefined;
  const type = getNumberIfAny(local, SO.TYPE);
  const raw = rawAddress('getsockname', local);
  const own = raw && decodeSocketAddress(raw);
  if (!own || (own.family !== 'inet' && own.family !== 'inet6') || own.port === 0) return undefined;
  const bytes = parseInetAddress(own.address);
  // A link-local address means nothing without the device it belongs to.
  if (!bytes || (bytes.length === 16 && bytes[0] === 0xfe)) return undefined;
  if (type === SOCK.STREAM) {
    return { protocol: 'tcp', address: own.address, port: getNumberIfAny(local, SO.ACCEPTCONN) === 1 ? own.port : 0 };
  }
  return type === SOCK.DGRAM ? { protocol: 'udp', address: own.address, port: own.port } : undefined;
}

/** What is missing or in the way here. `lateAddresses`: a script brings them before the restore. */
export function lackingHere({ pids, files, addresses }: Needs, lateAddresses: boolean): StasisError[] {
  return [
    ...pids.filter((pid) => !isUnused(pid)).map((pid) => pidInUse(pid, 'have the program run in a PID namespace')),
    ...files.flatMap((file) => fileLack(file) ?? []),
    ...(lateAddresses ? [] : addresses.flatMap((address) => addressLack(address) ?? [])),
  ];
}

function fileLack({ path, size, hash }: NeededFile): StasisError | undefined {
  const status = disk.status(path);
  const lack = (reason: string): StasisError =>
    new StasisError({
      kind: 'conflict',
      code: 'MIGRATION_REFUSED',
      resource: path,
      reason,
      remedy: 'copy it there first',
    });
  if (!status) return lack('there is no such file on the other machine');
  if (size !== undefined && status.size !== size) return lack(`it has ${status.size} bytes there, and ${size} here`);
  return hash !== undefined && hashOf(path) !== hash ? lack('its contents differ on the other machine') : undefined;
}

function addressLack({ protocol, address, port }: NeededAddress): StasisError | undefined {
  const bytes = parseInetAddress(address);
  if (!bytes) return undefined;
  const family = bytes.length === 4 ? AF.INET : AF.INET6;
  const opened = trySyscall('socket', family, (protocol === 'tcp' ? SOCK.STREAM : SOCK.DGRAM) | SOCK.CLOEXEC, 0);
  if (opened < 0) return undefined;
  using socket = new Fd(opened);
  const sockaddr = sockaddrOfEnd({ address: bytes, port: Uint8Array.of(port >> 8, port & 0xff) });
  const bound = trySyscall('bind', socket.number, sockaddr, sockaddr.length);
  if (bound >= 0) return undefined;
  const isPort = bound === -ERRNO.EADDRINUSE;
  return new StasisError({
    kind: 'conflict',
    code: 'MIGRATION_REFUSED',
    resource: `${address}${port === 0 ? '' : ` port ${port}`} (${protocol})`,
    reason: isPort
      ? 'somebody has that port on the other machine'
      : `the other machine cannot: ${describeErrno(bound)}`,
    remedy: isPort
      ? 'end that program'
      : 'give it the address, or have an action script of the service there do so at pre-restore',
  });
}
