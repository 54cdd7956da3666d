/** The connections of a dump: all of the tree are read together, and their images written. */
import { StasisError } from '../../../base/errors.ts';
import type { DumpContext, OpenFile } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { Images } from '../../../images/kinds.ts';
import { REPAIR, TCP, TCPI_OPT } from '../../../kernel/constants/inet.ts';
import { IPPROTO, SOCK, TCP_STATE } from '../../../kernel/constants/sockets.ts';
import { trySetNumber } from '../../../kernel/sockets.ts';
import { isClosedHere, tcpInfo } from '../../../network/tcp-state.ts';
import { MOST_AT_ONCE, readStreams, type Sized, type Stream, sized } from '../../../network/tcp-stream.ts';
import { aboutFile } from '../../../support/fdinfo.ts';
import { DetachedProcess } from '../../../tracee/detached.ts';
import { inetSocket, isInetSocket } from './protocol.ts';
import { isPlainEcn } from './tcp-ecn.ts';
import { wasConnected } from './tcp-obstacles.ts';

/** Bytes of queues read at once, unless one connection alone has more. */
const MOST_BYTES = 32 * 1024 * 1024;
/** How often a connection that changes while it is read is read again. */
const PATIENCE = 10;
const NOTHING = new Uint8Array();

/** The connections of a dump, that is, all sockets that have or had a peer. */
export class Connections implements Disposable {
  readonly #context: DumpContext;
  readonly #detached = new DetachedProcess();
  /** By inode: a descriptor of each, and what was written, without the queues. */
  readonly #files: ReadonlyMap<number, OpenFile>;
  readonly #saved = new Map<number, Stream>();

  private constructor(context: DumpContext) {
    this.#context = context;
    const files = context.tree.tasks.flatMap(({ fds }) => fds).filter(isConnection);
    this.#files = new Map(files.map((file) => [file.stat.ino, file]));
    this.#save([...this.#files.values()]);
  }

  static readonly #slot = new Slot((context: DumpContext) => new Connections(context));

  /** The connections of a dump, read and written when first asked for. @throws StasisError */
  static of(context: DumpContext): Connections {
    return Connections.#slot.of(context);
  }

  static ifMade(context: DumpContext): Connections | undefined {
    return Connections.#slot.ifMade(context);
  }

  /** The state of a connection that was saved. @throws StasisError */
  stateOf(file: OpenFile): number {
    const saved = this.#saved.get(file.stat.ino);
    if (saved) return saved.state;
    // One that waits in a unix socket, and that no task has open.
    this.#save([file]);
    return this.stateOf(file);
  }

  /**
   * Reads all again until none has changed. A segment that was on its way between two sockets of the tree may have come
   * in after one of them was read: then its bytes would be in both images, or in none.
   * @throws StasisError
   */
  settle(): void {
    for (let turn = 0; [...this.#saved.values()].some(isMoving); turn++) {
      const before = new Map(this.#saved);
      this.#save([...this.#files.values()]);
      const changed = [...this.#files].find(([ino]) => !isSame(before.get(ino), this.#saved.get(ino)));
      if (!changed) return;
      if (turn === PATIENCE) throw isChanging(changed[1]);
    }
  }

  /**
   * Puts all sockets into repair mode, in which they end without a word to the other end. The tasks must be about to be
   * killed, by us or by the kernel if Stasis is killed.
   */
  silence(): void {
    for (const { local } of this.#files.values()) trySetNumber(local, TCP.REPAIR, REPAIR.ON, IPPROTO.TCP);
  }

  #save(files: readonly OpenFile[]): void {
    for (let left = files, turn = 0; left.length > 0; turn++) {
      if (turn > PATIENCE + files.length) throw isChanging(left[0] as OpenFile);
      const lot = lotOf(left.slice(0, MOST_AT_ONCE).map(sized));
      const changing: OpenFile[] = [];
      readStreams(this.#detached, lot).forEach((stream, i) => {
        const { file } = lot[i] as Sized<OpenFile>;
        if (stream) this.#write(file, stream);
        else changing.push(file);
      });
      left = [...changing, ...left.slice(lot.length)];
    }
  }

  #write(file: OpenFile, stream: Stream): void {
    const { ino } = file.stat;
    const { inq, outq } = stream;
    const entry = this.#carried(file, stream);
    const before = this.#saved.get(ino);
    if (before && isSame(before, stream)) return;
    if (before && before.state !== stream.state) throw isChanging(file);
    this.#context.images.writeEntries(Images.tcpStream, ino, [{ message: entry, payload: { inq, outq } }]);
    this.#saved.set(ino, { ...stream, inq: NOTHING, outq: NOTHING });
  }

  /** What an image says of a connection: not what could not be made again. */
  #carried(file: OpenFile, { entry }: Stream): Stream['entry'] {
    if (!(entry.opt_mask & TCPI_OPT.ECN) || isPlainEcn(file, this.#context.tree)) return entry;
    return { ...entry, opt_mask: entry.opt_mask & ~TCPI_OPT.ECN };
  }

  [Symbol.dispose](): void {
    this.#detached[Symbol.dispose]();
  }
}

function isConnection(file: OpenFile): boolean {
  if (!isInetSocket(file)) return false;
  const socket = inetSocket(file);
  const isTcp = socket.type === SOCK.STREAM && socket.protocol === IPPROTO.TCP;
  return isTcp && tcpInfo(file.local).state !== TCP_STATE.LISTEN && wasConnected(socket);
}

/** As many connections as may be read at once. */
function lotOf(connections: readonly Sized<OpenFile>[]): Sized<OpenFile>[] {
  const lot: Sized<OpenFile>[] = [];
  let bytes = 0;
  for (const connection of connections) {
    bytes += connection.inLength + connection.outLength;
    if (lot.length > 0 && bytes > MOST_BYTES) break;
    lot.push(connection);
  }
  return lot;
}

/** Whether the kernel may send something for a connection although its task is frozen. */
function isMoving({ state, entry }: Stream): boolean {
  return (entry.outq_len ?? 0) > 0 || isClosedHere(state) || state === TCP_STATE.SYN_SENT;
}

/** Whether two looks at a connection have found the same bytes. */
function isSame(one: Stream | undefined, other: Stream | undefined): boolean {
  const keys = ['inq_len', 'inq_seq', 'outq_len', 'outq_seq', 'unsq_len'] as const;
  return one?.state === other?.state && keys.every((key) => one?.entry[key] === other?.entry[key]);
}

function isChanging(file: OpenFile): StasisError {
  const reason = 'the connection changes while it is read';
  return new StasisError({ kind: 'kernel', ...aboutFile(file), reason, remedy: 'lock the network (--network-lock)' });
}
