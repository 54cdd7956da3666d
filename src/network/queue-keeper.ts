/**
 * Reads the queues of listening sockets. A connection that nobody has accepted has no descriptor, and only one that is
 * accepted has: so all are accepted, read, ended without a word, and made again (handshake.ts), in their order. That
 * takes a fraction of a millisecond for each.
 *
 * The work must not be left half done. So it is that of another process, in a session of its own, which comes to the
 * end of it also if Stasis is killed: the connections are in the queues again then.
 */

import { fromBase64, toBase64 } from '../base/base64.ts';
import { type LocalFd, localFd } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import { decodeText, encodeText } from '../base/text.ts';
import type { InputOf } from '../images/message.ts';
import type { tcpStreamEntry } from '../images/schema/sockets.ts';
import { SEEK } from '../kernel/constants/files.ts';
import { SO } from '../kernel/constants/sockets.ts';
import { memoryFile } from '../kernel/files.ts';
import { rawAddress } from '../kernel/socket-facts.ts';
import { getNumber, getOption } from '../kernel/sockets.ts';
import { statusOf } from '../kernel/statx.ts';
import { Fd, syscall, trySyscall } from '../kernel/syscall.ts';
import { ownProgram } from '../support/own-program.ts';
import { DetachedProcess } from '../tracee/detached.ts';
import { acceptAll, endSilently, TakingListener } from './accept-queue.ts';
import { unacceptedEnds } from './connections.ts';
import { type EndFields, endOf, packetEndOf, sockaddrSize } from './end-fields.ts';
import type { WantedConnection } from './handshake.ts';
import { ShortLock } from './lock-rules.ts';
import { MOST_AT_ONCE, readStreams, sized } from './tcp-stream.ts';

/** The word that starts a keeper, and the first of the descriptors it gets. */
export const KEEPER = 'keep-queues';
const FIRST = 3;

/** A connection in a queue. */
export interface KeptConnection {
  /** The number of its socket while it was accepted. */
  readonly ino: number;
  readonly family: number;
  readonly source: EndFields;
  readonly destination: EndFields;
  readonly state: number;
  readonly entry: InputOf<typeof tcpStreamEntry>;
  readonly inq: Uint8Array;
  /** SO_RCVBUF. */
  readonly receiveBuffer: number;
}

/** A connection as it is made again. */
export function wantedOf(kept: Omit<KeptConnection, 'ino'>): WantedConnection {
  const { family, source, destination, state, entry, inq, receiveBuffer } = kept;
  const ends = { own: packetEndOf(family, source), remote: packetEndOf(family, destination) };
  return { ...ends, state, entry, inq, receiveBuffer };
}

/** What a keeper says. The bytes of queues are in Base64. */
interface Report {
  readonly queues: readonly (readonly (Omit<KeptConnection, 'inq'> & { readonly inq: string })[])[];
  /** What has gone wrong. */
  readonly errors: readonly string[];
}

/**
 * Reads the queues of listening sockets, all of the network namespace that we are in, and of tasks that are frozen.
 * @throws StasisError if a queue cannot be read, or was not put back as it was
 */
export function readQueues(listeners: readonly LocalFd[]): KeptConnection[][] {
  using report = memoryFile('stasis-queues');
  const [program, ...first] = ownProgram();
  const { status, error } = process
    .getBuiltinModule('node:child_process')
    .spawnSync(program, [...first, KEEPER, String(listeners.length)], {
      stdio: ['ignore', 'ignore', 'ignore', ...listeners, report.number],
    });
  const length = syscall('lseek', report.number, 0, SEEK.END);
  if (length === 0) throw failed(error?.message ?? `the process that reads it has ended (${status})`);
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; ) at += syscall('pread64', report.number, bytes.subarray(at), length - at, at);
  const { queues, errors } = JSON.parse(decodeText(bytes)) as Report; // written by this program
  if (errors[0] !== undefined) throw failed(errors[0]);
  return queues.map((queue) => queue.map((one) => ({ ...one, inq: fromBase64(one.inq) })));
}

function failed(reason: string): StasisError {
  return new StasisError({
    kind: 'kernel',
    code: 'SOCKET_TCP_PENDING',
    resource: 'the queue of a listening socket',
    reason,
    remedy: 'use --skip-in-flight, which loses the connections in it',
  });
}

/** The work of the keeper. Returns its exit code. */
export function keepQueues(count: number): number {
  trySyscall('setsid');
  for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM'] as const) process.on(signal, () => {});
  const listeners = Array.from({ length: count }, (_, i) => localFd(FIRST + i));
  using report = new Fd(FIRST + count);
  const errors: string[] = [];
  let queues: Report['queues'] = [];
  try {
    queues = readAndPutBack(listeners, errors);
  } catch (error) {
    errors.push(messageOf(error));
  }
  const bytes = encodeText(JSON.stringify({ queues, errors } satisfies Report));
  for (let at = 0; at < bytes.length; ) at += syscall('write', report.number, bytes.subarray(at), bytes.length - at);
  return 0;
}

function messageOf(error: unknown): string {
  return error instanceof StasisError ? `${error.resource ?? ''}: ${error.reason}` : String(error);
}

/** An accepted connection. */
interface Accepted {
  readonly fd: Fd;
  readonly queue: number;
  readonly local: LocalFd;
}

function readAndPutBack(listeners: readonly LocalFd[], errors: string[]): Report['queues'] {
  using lock = new ShortLock(listeners.flatMap(unacceptedEnds));
  const accepted = listeners.flatMap((listener, queue) =>
    acceptAll(listener).map((fd): Accepted => ({ fd, queue, local: fd.number })),
  );
  const described = accepted.map(({ local }) => describe(local));
  // Those that have come since they were listed.
  lock.add(
    described.map(({ family, source, destination }) => {
      return { local: packetEndOf(family, source), remote: packetEndOf(family, destination) };
    }),
  );
  const streams = readAll(accepted);
  const kept = accepted.map(({ queue }, i) => {
    const { state, entry, inq } = streams[i] as ReturnType<typeof readAll>[number]; // one for each
    return { queue, connection: { ...(described[i] as Described), state, entry, inq } };
  });
  listeners.forEach((listener, queue) => {
    const own = accepted.flatMap(({ fd, queue: of }, i) => (of === queue ? [{ fd, kept: kept[i] }] : []));
    if (own.length === 0) return;
    using taking = new TakingListener(listener, own.length);
    for (const { fd, kept } of own) {
      endSilently(fd);
      try {
        if (kept) taking.take(wantedOf(kept.connection));
      } catch (error) {
        errors.push(messageOf(error));
      }
    }
  });
  return listeners.map((_, queue) =>
    kept
      .filter(({ queue: of }) => of === queue)
      .map(({ connection }) => ({ ...connection, inq: toBase64(connection.inq) })),
  );
}

type Described = Pick<KeptConnection, 'ino' | 'family' | 'source' | 'destination' | 'receiveBuffer'>;

/** Tells which connection a descriptor is of. @throws SyscallError */
export function describe(local: LocalFd): Described {
  const family = getNumber(local, SO.DOMAIN);
  return {
    ino: statusOf(local).ino,
    receiveBuffer: getNumber(local, SO.RCVBUF),
    family,
    source: endOf(family, rawAddress('getsockname', local)),
    destination: endOf(family, getOption(local, SO.PEERNAME, sockaddrSize(family))),
  };
}

/** Reads connections, again while they change: packets that were let in before the lock are still handled. */
function readAll(connections: readonly Accepted[]): Omit<KeptConnection, keyof Described>[] {
  using detached = new DetachedProcess();
  const read = new Map<Accepted, Omit<KeptConnection, keyof Described>>();
  for (let left = connections; left.length > 0; left = left.filter((one) => !read.has(one))) {
    const lot = left.slice(0, MOST_AT_ONCE).map(({ local }, i) => sized({ local, of: left[i] as Accepted }));
    readStreams(detached, lot).forEach((stream, i) => {
      const one = lot[i]?.file.of;
      if (stream && one) read.set(one, { state: stream.state, entry: stream.entry, inq: stream.inq.slice() });
    });
  }
  return connections.flatMap((one) => read.get(one) ?? []);
}
