/** What a restore does with sockets whose peers were outside of the tree. */
import { StasisError } from '../../../base/errors.ts';
import type { CarryOptions } from '../../../contract/contract.ts';
import { SkShutdown } from '../../../images/schema/sockets.ts';
import { SOCK, TCP_STATE } from '../../../kernel/constants/sockets.ts';
import { isOutside, type SavedSocket } from './graph.ts';

/** With `--unix-peer reset` these sockets find their peer closed. */
export function resetIfAsked(sockets: readonly SavedSocket[], options: CarryOptions): readonly SavedSocket[] {
  if (options.unixPeer !== 'reset') return sockets;
  const outside = new Set(sockets.filter(isOutside).map(({ entry }) => entry.ino));
  return sockets.map((socket) => {
    const { entry, note } = socket;
    if (isOutside(socket) || !outside.has(entry.peer)) return socket;
    if (entry.type === SOCK.DGRAM) return { entry: { ...entry, peer: 0 }, note: { ...note, widowed: true } };
    const reset = { ...entry, peer: 0, state: TCP_STATE.ESTABLISHED, shutdown: SkShutdown.BOTH };
    return { entry: reset, note };
  });
}

/** Checks that a socket may be connected with its outside peer again. @throws StasisError */
export function requireAllowed(
  { entry }: SavedSocket,
  peer: SavedSocket,
  hasMessages: boolean,
  options: CarryOptions,
): void {
  const given = `give another end with --inherit-fd 'fd[N]:socket:[${entry.ino}]'`;
  const refuse = (reason: string, remedy: string): StasisError =>
    new StasisError({
      kind: 'unsupported',
      code: 'SOCKET_UNIX_OUTSIDE',
      resource: `socket:[${entry.ino}]`,
      reason,
      remedy,
    });
  if (peer.entry.name.length === 0) {
    throw refuse(
      'its peer was outside of the tree and has no name to connect to',
      `${given}, or --unix-peer reset lets it find its peer closed`,
    );
  }
  if (options.extUnixSockets === 'none' && options.unixPeer !== 'reconnect') {
    throw refuse(
      'its peer was outside of the tree',
      `--ext-unix-sk or --unix-peer reconnect connects it again by name; --unix-peer reset lets it find its peer closed; or ${given}`,
    );
  }
  if (hasMessages && entry.type !== SOCK.DGRAM) {
    throw refuse(
      'bytes wait that its peer outside of the tree has sent, and a new connection would not have them',
      `--unix-peer reset lets it read them and then find its peer closed; or ${given}`,
    );
  }
}
