/** What the protocols of IP have to do for their sockets; kind.ts does what all of them have in common. */
import type { LocalFd } from '../../../base/brands.ts';
import type { StasisError } from '../../../base/errors.ts';
import type { NoticeFacts } from '../../../base/notice.ts';
import type {
  DumpContext,
  DumpEnd,
  OpenFile,
  RestoreContext,
  RestoreEnd,
  SeenTask,
} from '../../../contract/contract.ts';
import type { InputOf } from '../../../images/message.ts';
import type { InetSkEntry, inetSkEntry } from '../../../images/schema/sockets.ts';
import { AF, SO } from '../../../kernel/constants/sockets.ts';
import { getNumber } from '../../../kernel/sockets.ts';
import type { InetNote } from './notes.ts';

/** A socket of IP that a task has open. */
export interface InetSocket {
  readonly file: OpenFile;
  /** The descriptor borrowed from the task. */
  readonly local: LocalFd;
  /** {@link AF}.INET or INET6. */
  readonly family: number;
  /** SOCK_STREAM, … */
  readonly type: number;
  /** IPPROTO_TCP, …; any number for a raw socket. */
  readonly protocol: number;
}

/** Whether an open file is a socket of IP. */
export function isInetSocket(file: OpenFile): boolean {
  const family = file.socketDomain();
  return family === AF.INET || family === AF.INET6;
}

/** What was found out once: every door of the kind asks. */
const KNOWN = new WeakMap<OpenFile, InetSocket>();

/** Looks at an open file that is a socket of IP. @throws SyscallError */
export function inetSocket(file: OpenFile): InetSocket {
  const known = KNOWN.get(file);
  if (known) return known;
  const { local } = file;
  const family = file.socketDomain() ?? getNumber(local, SO.DOMAIN);
  const found = { file, local, family, type: getNumber(local, SO.TYPE), protocol: getNumber(local, SO.PROTOCOL) };
  KNOWN.set(file, found);
  return found;
}

/** What a protocol adds to the entry of a socket, and to its note. */
export interface Captured {
  /** `state` and, where there are such, `backlog`, `shutdown` and the options of the protocol. */
  readonly entry: { readonly state: number } & Partial<InputOf<typeof inetSkEntry>>;
  readonly note?: InetNote | undefined;
}

/** A socket that is being made again. */
export interface MadeSocket {
  readonly entry: InetSkEntry;
  readonly note: InetNote;
  readonly local: LocalFd;
  readonly context: RestoreContext;
}

/** A protocol. Functions that are absent have nothing to do. */
export interface InetProtocol {
  /** Whether sockets of this type and protocol number are of this protocol. */
  handles(type: number, protocol: number): boolean;
  /** Why a socket cannot be carried; undefined if it can. */
  obstacle?(socket: InetSocket, task: SeenTask): StasisError | undefined;
  /** What will change although the socket is carried; undefined if nothing. */
  notice?(socket: InetSocket, task: SeenTask): NoticeFacts | undefined;
  /** Reads what only sockets of this protocol have; `id` is the file's. The addresses are in the entry already. */
  capture(socket: InetSocket, id: number, context: DumpContext): Captured;
  /** Called when all sockets are captured, if the tree has sockets of IP. */
  captured?(context: DumpContext): void;
  /** Called at the end of the dump, as the tree's door of that name, if the tree has sockets of IP. */
  end?(context: DumpContext, how: DumpEnd): void;

  /**
   * Whether a socket must not be bound with SO_REUSEADDR unless it had that: others that have it could share its port.
   */
  readonly needsOwnAddress?: boolean;
  /** Whether the socket is bound by {@link connect} and not by kind.ts. */
  bindsItself?(entry: InetSkEntry): boolean;
  /**
   * Called before there is any process, when the socket is bound and all its addresses are its own: connects it.
   * @throws StasisError
   */
  connect?(socket: MadeSocket): void;
  /** Called before the options of the socket are set: fills its queues. */
  fill?(socket: MadeSocket): void;
  /** Called when all options have been set, but SO_REUSEADDR and SO_REUSEPORT: makes it listen. */
  open?(socket: MadeSocket): void;
  /** Called when all tasks are rebuilt and none runs yet, if the images have sockets of IP. */
  rebuilt?(socket: MadeSocket): void;
  /** Called at the end of the restore, as the tree's door of that name, if the images have sockets of IP. */
  restoreEnd?(context: RestoreContext, how: RestoreEnd): void;
}
