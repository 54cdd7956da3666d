/** The socket at which a lazy-pages daemon waits for its restore, and what the restore says. */
import { localFd } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import { logInfo } from '../../base/log.ts';
import { encodeText } from '../../base/text.ts';
import { AT, O, POLL } from '../../kernel/constants/files.ts';
import { AF, MSG, SOCK } from '../../kernel/constants/sockets.ts';
import { openFile } from '../../kernel/files.ts';
import { waitFor } from '../../kernel/poll.ts';
import { receiveRights } from '../../kernel/sockets.ts';
import {
  arenaAddress,
  arenaPath,
  arenaView,
  describeErrno,
  ERRNO,
  Fd,
  syscall,
  trySyscall,
} from '../../kernel/syscall.ts';
import { socketAddressIn } from '../../memory/lazy/client.ts';
import { LAZY_SOCKET, RESTORED } from '../../memory/lazy/wire.ts';

/** A socket that listens in a work directory. One that an ended daemon has left is replaced. @throws StasisError */
export function listenForRestore(workDir: string): Fd {
  using directory = openFile(workDir, O.PATH | O.DIRECTORY);
  const socket = new Fd(syscall('socket', AF.UNIX, SOCK.STREAM | SOCK.CLOEXEC, 0));
  const address = socketAddressIn(directory);
  let result = trySyscall('bind', socket.number, address, address.length);
  if (result === -ERRNO.EADDRINUSE && !isListenedAt(address)) {
    removeSocket(workDir);
    result = trySyscall('bind', socket.number, address, address.length);
  }
  if (result >= 0) result = trySyscall('listen', socket.number, 1);
  if (result >= 0) return socket;
  socket[Symbol.dispose]();
  throw new StasisError({
    kind: 'io',
    code: 'LAZY_PAGES_UNREACHABLE',
    resource: `${workDir}/${LAZY_SOCKET}`,
    reason: `no daemon can listen there: ${result === -ERRNO.EADDRINUSE ? 'another one does' : describeErrno(result)}`,
    remedy: 'choose another work directory (-W), for the restore as well',
  });
}

/**
 * Whether a stream socket has this name. A datagram socket may not connect to one (`unix_find_other()` in
 * net/unix/af_unix.c), so that whoever listens there does not notice; it is refused if nobody has the name any more.
 */
function isListenedAt(address: Uint8Array): boolean {
  using probe = new Fd(syscall('socket', AF.UNIX, SOCK.DGRAM | SOCK.CLOEXEC, 0));
  return trySyscall('connect', probe.number, address, address.length) === -ERRNO.EPROTOTYPE;
}

function removeSocket(workDir: string): void {
  trySyscall('unlinkat', AT.FDCWD, arenaPath(`${workDir}/${LAZY_SOCKET}`), 0);
}

/** The name of a socket that listens in a work directory. It is removed once: another daemon may take it then. */
export class SocketName implements Disposable {
  readonly #workDir: string;
  #isThere = true;

  constructor(workDir: string) {
    this.#workDir = workDir;
  }

  [Symbol.dispose](): void {
    if (this.#isThere) removeSocket(this.#workDir);
    this.#isThere = false;
  }
}

/** Accepts the restore, and says which dump our images are of. */
export function acceptRestore(listener: Fd, run: string | undefined): Fd {
  const connection = new Fd(syscall('accept4', listener.number, 0, 0, SOCK.CLOEXEC));
  logInfo('the restore has connected');
  const greeting = encodeText(`${run ?? ''}\n`);
  if (run !== undefined) {
    trySyscall('sendto', connection.number, greeting, greeting.length, MSG.NOSIGNAL | MSG.DONTWAIT, 0, 0);
  }
  return connection;
}

/** Milliseconds to wait for the second half of what a restore says of a task. */
const PATIENCE = 10_000;

/** What a restore says. */
export type Saying =
  | { readonly of: 'task'; readonly pid: number }
  | { readonly of: 'nothing' }
  | { readonly of: 'restored' };

/**
 * The next thing that the restore says. It is not taken yet: the restore goes on when it is, and until then an error
 * here is one of the restore. Undefined if there is nothing more at the moment. @throws StasisError at its end
 */
export function nextSaying(connection: Fd): Saying | undefined {
  const got = trySyscall('recvfrom', connection.number, arenaAddress, 4, MSG.PEEK | MSG.DONTWAIT, 0, 0);
  if (got === -ERRNO.EAGAIN || got === -ERRNO.EINTR || (got > 0 && got < 4)) return undefined;
  if (got <= 0) throw lost('it has ended before the tasks ran');
  const word = arenaView.getInt32(0, true);
  if (word === RESTORED) return { of: 'restored' };
  return word < 0 ? { of: 'nothing' } : { of: 'task', pid: word };
}

/** Takes what {@link nextSaying} has told; of a task, its userfaultfd. @throws StasisError */
export function takeSaying(connection: Fd, saying: Saying): Fd | undefined {
  syscall('recvfrom', connection.number, arenaAddress, 4, 0, 0, 0);
  if (saying.of !== 'task') return undefined;
  if (!waitFor(connection.number, POLL.IN, PATIENCE)) throw lost('it does not send a userfaultfd');
  const [descriptor] = receiveRights(connection.number);
  if (descriptor === undefined) throw lost('it sends no userfaultfd');
  return new Fd(localFd(descriptor));
}

function lost(reason: string): StasisError {
  return new StasisError({ kind: 'io', code: 'LAZY_PAGES_LOST', resource: 'the restore', reason });
}
