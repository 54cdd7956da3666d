/** The RPC as a daemon: a socket in the file system, and a process for each client. */
import { errnoNameOf, StasisError } from '../base/errors.ts';
import { logInfo, logWarn } from '../base/log.ts';
import { encodeText } from '../base/text.ts';
import { encodeMessage } from '../images/codec.ts';
import { CriuReqType, criuResp } from '../images/schema/rpc.ts';
import { S_IF } from '../kernel/constants/files.ts';
import { AF, MSG, SOCK, UNIX_PATH_MAX } from '../kernel/constants/sockets.ts';
import { disk } from '../kernel/disk.ts';
import { encodeControl, encodeUnixAddress } from '../kernel/layouts/sockets.ts';
import { nap } from '../kernel/nap.ts';
import { peerCredentials, trySendMessage } from '../kernel/sockets.ts';
import { statusAt } from '../kernel/statx.ts';
import { describeErrno, ERRNO, Fd, SyscallError, syscall, trySyscall } from '../kernel/syscall.ts';
import { Workers } from '../support/workers.ts';
import { requireUninterrupted } from '../tracee/interruption.ts';
import { Crowd } from './crowd.ts';
import { errorText } from './errors.ts';

/** Where the service is if nobody says, as with CRIU. */
export const DEFAULT_ADDRESS = './criu_service.socket';

/** Clients that may wait to be accepted. */
const BACKLOG = 64;
/** Nanoseconds to wait when there is no room for a further descriptor or process. */
const PAUSE = 100_000_000;

/**
 * A socket that listens at a path. Everybody may connect: what a client may have done is what it may do itself. A
 * socket that nobody listens at any more is replaced.
 *
 * @throws StasisError if there is something else, or a service
 */
export function listenAt(path: string): Fd {
  const name = encodeText(`${path}\0`);
  if (name.length > UNIX_PATH_MAX) {
    throw wrong(path, `paths of sockets have at most ${UNIX_PATH_MAX - 1} bytes`, 'choose a shorter one');
  }
  const address = encodeUnixAddress(name);
  removeStale(path, address);
  const socket = new Fd(syscall('socket', AF.UNIX, SOCK.SEQPACKET | SOCK.CLOEXEC, 0));
  try {
    // With this mask the file of the socket is made with mode 0666.
    const mask = syscall('umask', 0o111);
    const bound = trySyscall('bind', socket.number, address, address.length);
    syscall('umask', mask);
    if (bound < 0)
      throw wrong(path, `the socket cannot be made: ${describeErrno(bound)}`, 'name another with --address');
    syscall('listen', socket.number, BACKLOG);
    return socket;
  } catch (error) {
    socket[Symbol.dispose]();
    throw error;
  }
}

function removeStale(path: string, address: Uint8Array): void {
  const status = statusAt(path);
  if (!status) return;
  if ((status.mode & S_IF.MT) !== S_IF.SOCK) throw wrong(path, 'there is a file that is no socket', 'remove it');
  using probe = new Fd(syscall('socket', AF.UNIX, SOCK.SEQPACKET | SOCK.CLOEXEC, 0));
  const result = trySyscall('connect', probe.number, address, address.length);
  if (result !== -ERRNO.ECONNREFUSED)
    throw wrong(path, 'somebody listens there', 'end that service, or name another path');
  disk.unlink(path);
}

function wrong(path: string, reason: string, remedy: string): StasisError {
  return new StasisError({ kind: 'conflict', resource: path, reason, remedy });
}

/** Serves clients until a signal asks Stasis to end. @throws InterruptedError */
export function serveClients(listener: Fd): never {
  using workers = new Workers();
  const crowd = new Crowd();
  for (;;) {
    const accepted = trySyscall('accept4', listener.number, 0, 0, SOCK.CLOEXEC);
    if (accepted < 0) {
      failedToAccept(-accepted);
      continue;
    }
    using connection = new Fd(accepted);
    const { uid } = peerCredentials(connection.number);
    const error = crowd.whyFull(uid);
    if (error) {
      refuse(connection, error);
      continue;
    }
    try {
      const pid = workers.start(['swrk', `${connection.number}`, 'served'], connection.number);
      crowd.note(pid, uid);
      logInfo(`a client is served by process ${pid}`);
    } catch (error) {
      logWarn('service.ts', `a client cannot be served: ${errnoNameOf(error) ?? error}`);
      nap(PAUSE);
    }
  }
}

/** Tells a client why it is not served. */
function refuse(connection: Fd, error: StasisError): void {
  logWarn('service.ts', error.message);
  const answer = { type: CriuReqType.EMPTY, success: false, cr_errmsg: errorText(error) };
  trySendMessage(connection.number, encodeMessage(criuResp, answer), encodeControl([]), MSG.NOSIGNAL | MSG.DONTWAIT);
}

/** What is wrong with one client does not matter to the others; what is wrong with us may pass. */
function failedToAccept(errno: number): void {
  requireUninterrupted();
  if (errno === ERRNO.EINTR || errno === ERRNO.ECONNABORTED) return;
  if (errno !== ERRNO.EMFILE && errno !== ERRNO.ENFILE && errno !== ERRNO.ENOMEM && errno !== ERRNO.ENOBUFS) {
    throw new SyscallError('accept4', errno);
  }
  logWarn('service.ts', `no client can be accepted: ${describeErrno(errno)}`);
  nap(PAUSE);
}
