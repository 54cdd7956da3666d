/**
 * From where the datagrams of a queue are sent again. recvfrom(2) tells the name of the socket that a datagram came
 * from, so it has to come from a socket with that name: that of the tree, or one made for the purpose. No socket but
 * its peer may send to one that is connected, so queues are filled before sockets are connected.
 */
import type { LocalFd } from '../../../base/brands.ts';
import { decodeText } from '../../../base/text.ts';
import type { RestoreContext } from '../../../contract/contract.ts';
import { AF, SOCK } from '../../../kernel/constants/sockets.ts';
import { encodeUnixAddress } from '../../../kernel/layouts/sockets.ts';
import { showUnixName } from '../../../kernel/socket-address.ts';
import { ERRNO, Fd, SyscallError, syscall, trySyscall } from '../../../kernel/syscall.ts';
import { inSavedNetwork } from '../../../namespaces/networks.ts';
import { filePath } from './conflicts.ts';
import type { Origin } from './fill.ts';
import { imageError, type SavedSocket } from './graph.ts';
import type { MadeSockets } from './make.ts';
import { isPath } from './names.ts';
import { pathOf } from './paths.ts';
import type { Staging } from './staging.ts';

/** What tells names apart: abstract ones are known in one network namespace, that of a socket `near` by. */
function keyOf(name: Uint8Array, near: SavedSocket): string {
  return isPath(name) ? decodeText(name) : `${near.entry.ns_id} ${decodeText(name)}`;
}

export class DatagramSenders implements Disposable {
  readonly #made: MadeSockets;
  readonly #staging: Staging;
  readonly #context: RestoreContext;
  /** Bound sockets of the tree by {@link keyOf}. */
  readonly #byName = new Map<string, SavedSocket>();
  /** Sockets without a name by the inode of their peer. */
  readonly #unnamed = new Map<number, SavedSocket>();
  /** Sockets made for the purpose, by {@link keyOf}; by the network namespace alone for those without a name. */
  readonly #strangers = new Map<string, Fd>();
  readonly #files: Fd[] = [];

  constructor(sockets: readonly SavedSocket[], made: MadeSockets, staging: Staging, context: RestoreContext) {
    this.#made = made;
    this.#staging = staging;
    this.#context = context;
    for (const socket of sockets.filter(({ entry }) => entry.type === SOCK.DGRAM)) {
      const { name, peer } = socket.entry;
      if (name.length === 0) this.#unnamed.set(peer, socket);
      // Of two with one name the later is the one that still has its file.
      else if (!socket.entry.deleted || !this.#byName.has(keyOf(name, socket)))
        this.#byName.set(keyOf(name, socket), socket);
    }
  }

  /** Tells for a socket from where its datagrams are sent. `other` is the other end of a pair. */
  originsFor(socket: SavedSocket, other: LocalFd | undefined): (source: Uint8Array | undefined) => Origin {
    const to = this.#made.addressOf(socket);
    return (source) => {
      if (other !== undefined && (!to || !source || this.#isOf(other, source, socket))) return { from: other };
      if (!to) throw imageError(socket.entry, 'messages wait in a socket that nobody can send to');
      return { from: this.#senderOf(socket, source), to };
    };
  }

  /** Whether the other end of a pair has a name. */
  #isOf(other: LocalFd, source: Uint8Array, receiver: SavedSocket): boolean {
    const named = this.#byName.get(keyOf(source, receiver));
    return named !== undefined && this.#made.locals.get(named.entry.id) === other;
  }

  #senderOf(receiver: SavedSocket, source: Uint8Array | undefined): LocalFd {
    const known = source ? this.#byName.get(keyOf(source, receiver)) : this.#unnamed.get(receiver.entry.ino);
    const local = known && this.#made.locals.get(known.entry.id);
    return local ?? this.#stranger(receiver, source);
  }

  /** A socket in place of one that is closed, or outside of the tree. */
  #stranger(receiver: SavedSocket, source: Uint8Array | undefined): LocalFd {
    const network = receiver.entry.ns_id;
    const key = source ? keyOf(source, receiver) : `${network}`;
    const known = this.#strangers.get(key);
    if (known) return known.number;
    const make = (): Fd => new Fd(syscall('socket', AF.UNIX, SOCK.DGRAM | SOCK.CLOEXEC, 0));
    const made = inSavedNetwork(this.#context, network, make);
    this.#strangers.set(key, made);
    if (source && isPath(source)) {
      const near = filePath(receiver).split('/').slice(0, -1).join('/');
      const path = pathOf(decodeText(source).replace(/\0+$/, ''), near.startsWith('/') ? near : '/tmp');
      this.#files.push(this.#staging.bind(made.number, source, path, { deleted: true, permissions: undefined }));
    } else if (source) this.#bindAbstract(made.number, source);
    return made.number;
  }

  #bindAbstract(local: LocalFd, source: Uint8Array): void {
    const address = encodeUnixAddress(source);
    const result = trySyscall('bind', local, address, address.length);
    if (result === 0) return;
    if (result !== -ERRNO.EADDRINUSE) throw new SyscallError('bind', -result, { resource: showUnixName(source) });
    const reason = 'is in use outside of the tree: datagrams that wait and came from there will have no sender';
    this.#context.notice({ resource: showUnixName(source), reason });
  }

  [Symbol.dispose](): void {
    for (const fd of [...this.#strangers.values(), ...this.#files]) fd[Symbol.dispose]();
  }
}
