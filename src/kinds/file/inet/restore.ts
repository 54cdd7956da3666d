/**
 * Makes sockets of IP again. All of them are made, bound and connected before there is any process, so that a port that
 * is taken, an address or a device that is missing is an error before anything exists.
 *
 * Sockets of one tree may share a port although a new one with their options could not be bound to it: a listening
 * socket and the connections it has accepted. So all are bound with SO_REUSEADDR, before any listens, and the options
 * are given back when all are bound.
 */
import type { LocalFd } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import { decodeText } from '../../../base/text.ts';
import type { RestoreContext, RestoreEnd } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { ImageError } from '../../../images/error.ts';
import type { InetSkEntry } from '../../../images/schema/sockets.ts';
import { actAs } from '../../../kernel/act-as.ts';
import { IPV6 } from '../../../kernel/constants/inet.ts';
import { AF, IPPROTO, SO, SOCK } from '../../../kernel/constants/sockets.ts';
import { readSystem } from '../../../kernel/proc/read.ts';
import { setNumber } from '../../../kernel/sockets.ts';
import { ERRNO, Fd, SyscallError, syscall, trySyscall } from '../../../kernel/syscall.ts';
import { inSavedNetwork } from '../../../namespaces/networks.ts';
import { FILE_OWNER } from '../../../namespaces/user/inside.ts';
import { AddressMap } from '../../../network/address-map.ts';
import { restoreForgotten, restoreOptions } from '../../../network/socket-options.ts';
import { setFlagsAndOwner } from '../../../support/fown.ts';
import { bindSocket } from './bind.ts';
import { restoreHeaderOptions } from './header-options.ts';
import { restoreForgottenIp, restoreIpOptions } from './ip-options.ts';
import { noteOf } from './notes.ts';
import type { InetProtocol, MadeSocket } from './protocol.ts';
import { protocolOf, protocols } from './protocols.ts';

interface Making extends MadeSocket {
  readonly protocol: InetProtocol;
}

/** The sockets of IP of a restore. */
export class InetSockets {
  readonly #context: RestoreContext;
  readonly #entries: readonly InetSkEntry[];
  readonly #made = new Map<number, Making>();
  /** Sockets whose descriptors belong to the context. */
  readonly #given = new Set<number>();
  /** How many sockets have a port. */
  readonly #ports = new Map<string, number>();
  #isOpen = false;

  private constructor(context: RestoreContext) {
    this.#context = context;
    const map = new AddressMap(context.options.inetAddressMap);
    this.#entries = [...context.fileEntries.values()].flatMap(({ isk }) => (isk ? [map.apply(isk)] : []));
    if (this.#entries.length > 0) context.atEnd(() => this.#close());
  }

  static readonly #slot = new Slot((context: RestoreContext) => new InetSockets(context));

  /** The sockets of this restore. */
  static of(context: RestoreContext): InetSockets {
    return InetSockets.#slot.of(context);
  }

  static ifMade(context: RestoreContext): InetSockets | undefined {
    return InetSockets.#slot.ifMade(context);
  }

  /** Makes, binds and connects all sockets. @throws StasisError */
  prepare(): void {
    for (const entry of this.#entries) {
      this.#made.set(
        entry.id,
        inSavedNetwork(this.#context, entry.ns_id, () => this.#make(entry)),
      );
      this.#ports.set(portOf(entry), (this.#ports.get(portOf(entry)) ?? 0) + 1);
    }
    const shared = new Set(this.#entries.filter(({ opts }) => opts.so_reuseport).map(portOf));
    for (const socket of this.#made.values()) {
      if (socket.protocol.bindsItself?.(socket.entry)) continue;
      inNetwork(socket, () => bindSocket(socket, this.#sharingOf(socket, shared)));
    }
    for (const socket of this.#made.values()) inNetwork(socket, () => socket.protocol.connect?.(socket));
  }

  /** How a socket is bound; `shared` has the ports of all that have SO_REUSEPORT. */
  #sharingOf({ entry, protocol }: Making, shared: ReadonlySet<string>): { sharesPort: boolean; reuses: boolean } {
    const port = portOf(entry);
    const reuses = !protocol.needsOwnAddress || (entry.opts.reuseaddr ?? false) || (this.#ports.get(port) ?? 0) > 1;
    return { sharesPort: shared.has(port), reuses };
  }

  /**
   * A socket, in its final state unless its protocol has something to do at the end. The caller owns the descriptor.
   */
  take(entry: InetSkEntry): LocalFd {
    this.#open();
    const socket = this.#made.get(entry.id);
    if (!socket) throw new StasisError({ kind: 'internal', reason: `socket:[${entry.ino}] was not prepared` });
    this.#given.add(entry.id);
    return socket.local;
  }

  /** All tasks are rebuilt. */
  rebuilt(): void {
    for (const socket of this.#made.values()) inNetwork(socket, () => socket.protocol.rebuilt?.(socket));
  }

  end(how: RestoreEnd): void {
    if (this.#entries.length > 0) for (const protocol of protocols) protocol.restoreEnd?.(this.#context, how);
  }

  #make(entry: InetSkEntry): Making {
    const { family, type, proto } = entry;
    if (family !== AF.INET && family !== AF.INET6) throw imageError(entry, `there is no family ${family} of IP`);
    const protocol = protocolOf({ type, protocol: proto });
    if (!protocol) {
      const reason = `sockets of type ${type}, protocol ${proto} are not restored`;
      throw new StasisError({
        kind: 'unsupported',
        code: 'SOCKET_PROTOCOL',
        resource: `socket:[${entry.ino}]`,
        reason,
      });
    }
    const fd = makeSocket(entry);
    const note = noteOf(this.#context, entry.id);
    if (family === AF.INET6 && entry.v6only) setNumber(fd.number, IPV6.V6ONLY, 1, IPPROTO.IPV6);
    const uid = this.#context.ids.uidHere(note.uid ?? 0);
    // Made by Stasis it is root's, or the user's whom files belong to for the time being.
    if (uid !== 0 || note.uid !== undefined || FILE_OWNER.of(this.#context)) syscall('fchown', fd.number, uid, -1);
    return { entry, note, local: fd.release(), context: this.#context, protocol };
  }

  /** Gives all sockets their options and their queues, when the first one is asked for. */
  #open(): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    for (const socket of this.#made.values()) {
      inNetwork(socket, () => {
        socket.protocol.fill?.(socket);
        setOptions(socket);
      });
    }
    for (const socket of this.#made.values()) inNetwork(socket, () => socket.protocol.open?.(socket));
    for (const { local, entry } of this.#made.values()) {
      setNumber(local, SO.REUSEADDR, +(entry.opts.reuseaddr ?? false));
      setNumber(local, SO.REUSEPORT, +(entry.opts.so_reuseport ?? false));
    }
  }

  #close(): void {
    for (const [id, { local }] of this.#made) if (!this.#given.has(id)) trySyscall('close', local);
    this.#made.clear();
  }
}

/** Does `work` in the network namespace of a socket. */
function inNetwork({ context, entry }: MadeSocket, work: () => void): void {
  inSavedNetwork(context, entry.ns_id, work);
}

function portOf({ proto, src_port, ns_id }: InetSkEntry): string {
  return `${proto} ${src_port} ${ns_id ?? 0}`;
}

/** Sets all options but those bind.ts has set or needs. */
function setOptions({ entry, note, local, context }: MadeSocket): void {
  if (entry.ip_opts) restoreIpOptions(local, entry.family, entry.ip_opts);
  restoreForgottenIp(local, entry, note.ip, 'later');
  restoreHeaderOptions(local, entry.family, note.headers);
  restoreOptions(local, entry.opts);
  // IP_TOS has set it as well (`__ip_sock_set_tos()`), and restoreOptions() leaves the usual one alone.
  if (entry.opts.so_priority === 0) setNumber(local, SO.PRIORITY, 0);
  restoreForgotten(local, note.options);
  setFlagsAndOwner(local, entry.flags, entry.fown, context);
}

function imageError({ ino }: InetSkEntry, reason: string): ImageError {
  return new ImageError({ file: 'files.img', reason: `socket:[${ino}]: ${reason}` });
}

/** Makes a socket. @throws SyscallError */
function makeSocket({ family, type, proto }: InetSkEntry): Fd {
  const make = (): number => trySyscall('socket', family, type | SOCK.CLOEXEC, proto);
  let made = make();
  // Sockets of ICMP have those who are in certain groups, whatever their rights (ping_init_sock() in net/ipv4/ping.c).
  if (made === -ERRNO.EACCES) made = inPingGroup(make);
  if (made < 0) throw new SyscallError('socket', -made);
  return new Fd(made);
}

/** Does `work` in a group that may have sockets of ICMP in this network namespace, if there is any. */
function inPingGroup<T>(work: () => T): T {
  const [low = 0] = decodeText(readSystem('/proc/sys/net/ipv4/ping_group_range')).trim().split(/\s+/).map(Number);
  return actAs(process.geteuid?.() ?? 0, low, work);
}
