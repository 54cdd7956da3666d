/** Netlink sockets: how programs talk with the kernel about network devices, routes, hardware, … */

import type { LocalFd } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import type { NoticeFacts } from '../../../base/notice.ts';
import type { FileDoors, OpenFile, RestoreContext, SeenTree } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { dictionary, list, object, optional, signed, whole } from '../../../images/form.ts';
import type { NetlinkSkEntry } from '../../../images/schema/sockets.ts';
import { POLL } from '../../../kernel/constants/files.ts';
import { NETLINK_CONNECTED, NETLINK_OPTION, SOL_NETLINK } from '../../../kernel/constants/netlink.ts';
import { AF, MSG, SO, SOCK } from '../../../kernel/constants/sockets.ts';
import { SockaddrNl } from '../../../kernel/layouts/sockets.ts';
import { type ListedNetlink, netlinkSockets } from '../../../kernel/netlink/netlink-diag.ts';
import { eventsOf } from '../../../kernel/poll.ts';
import { rawAddress } from '../../../kernel/socket-facts.ts';
import { getNumber, getNumberIfAny, getOption, setNumber } from '../../../kernel/sockets.ts';
import {
  arena,
  arenaAddress,
  arenaView,
  ERRNO,
  Fd,
  SyscallError,
  syscall,
  trySyscall,
} from '../../../kernel/syscall.ts';
import { fromAllNetworks, inSavedNetwork, networkIdOf } from '../../../namespaces/networks.ts';
import { PreparedSockets } from '../../../network/prepared-sockets.ts';
import {
  captureForgotten,
  captureOptions,
  optionsObstacle,
  restoreForgotten,
  restoreOptions,
} from '../../../network/socket-options.ts';
import { aboutFile, fileObstacle, partOf } from '../../../support/fdinfo.ts';
import { notedFile, noteFile } from '../../../support/file-notes.ts';
import { armAsync, captureOwner, imageFlags, setFlagsAndOwner } from '../../../support/fown.ts';

/** Groups that an address has a bit for; there may be more. */
const IN_ADDRESS = 32;

/** Options CRIU's images have no place for, all off in a new socket: name in the notes, and number. */
const OPTIONS = {
  packetInfo: NETLINK_OPTION.PKTINFO,
  broadcastError: NETLINK_OPTION.BROADCAST_ERROR,
  noEnobufs: NETLINK_OPTION.NO_ENOBUFS,
  listenAllNsid: NETLINK_OPTION.LISTEN_ALL_NSID,
  capAck: NETLINK_OPTION.CAP_ACK,
  extAck: NETLINK_OPTION.EXT_ACK,
  strictCheck: NETLINK_OPTION.GET_STRICT_CHK,
} as const;

const NOTES = 'netlink';
const noteForm = object({
  /** See network/socket-options.ts. */
  options: optional(dictionary(signed)),
  /** The options above that are on. */
  own: optional(dictionary(signed)),
  /** Groups the entry has no place for. */
  groups: optional(list(whole)),
  /** The type of the socket, if it is not SOCK_RAW. */
  type: optional(whole),
});

const SOCKETS = new Slot((context: RestoreContext) => new PreparedSockets(context));
const LISTED = new Slot((tree: SeenTree) => fromAllNetworks(tree, netlinkSockets));

export const netlinkKind: FileDoors = {
  tree: {
    prepare(context) {
      for (const { nlsk } of context.fileEntries.values()) {
        if (!nlsk) continue;
        SOCKETS.of(context).add(
          nlsk.id,
          inSavedNetwork(context, nlsk.ns_id, () => make(nlsk, context)),
        );
      }
    },
  },

  obstacle(file, { tree }) {
    if (listed(file, tree)?.inDump || waits(file) === 'answer') {
      const reason = 'an answer of the kernel waits in it, which cannot be put back, and the program may wait for it';
      return fileObstacle(file, 'SOCKET_NETLINK', reason, 'dump it when the program has read the answer');
    }
    return optionsObstacle(file);
  },

  notice: (file) => LOST[waits(file)]?.(file),

  capture(file, id, context) {
    const { local } = file;
    const own = addressOf(local, 'getsockname');
    const peer = addressOf(local, 'getpeername');
    const groups = groupsOf(local);
    // What is not bound has no address that could hold groups.
    const inEntry = own.port === 0 ? [] : groups.filter((group) => group <= IN_ADDRESS);
    const note = noteOf(local, groups.slice(inEntry.length));
    if (Object.keys(note).length > 0) noteFile(context, NOTES, id, note);
    const connected = listed(file, context.tree)?.connected ?? (peer.port !== 0 || peer.groups !== 0);
    return {
      nlsk: {
        id,
        ino: file.stat.ino,
        protocol: getNumber(local, SO.PROTOCOL),
        state: connected ? NETLINK_CONNECTED : 0,
        flags: imageFlags(file.flags),
        portid: own.port,
        groups: inEntry.length > 0 ? [maskOf(inEntry)] : [],
        dst_portid: peer.port,
        dst_group: peer.groups === 0 ? 0 : 32 - Math.clz32(peer.groups & -peer.groups),
        fown: captureOwner(local, file.flags, context),
        opts: captureOptions(local, AF.NETLINK),
        ns_id: networkIdOf(file, context.tree),
      },
    };
  },

  rebuild: (entry, context) => SOCKETS.of(context).take(partOf(entry, 'nlsk').id),

  finish(entry, fd, task) {
    armAsync(fd, partOf(entry, 'nlsk').flags, task);
  },
};

function listed({ stat }: OpenFile, tree: SeenTree): ListedNetlink | undefined {
  return LISTED.of(tree).get(stat.ino);
}

/** What waits in a socket: messages to a group of receivers, or an answer to this one. */
type Waiting = 'nothing' | 'error' | 'messages' | 'answer';

/** What waits; of several messages the first decides, since nobody can look at the others without taking it. */
function waits({ local }: OpenFile): Waiting {
  const events = eventsOf(local, POLL.IN);
  if (events & POLL.ERR) return 'error'; // a look would take it
  if (!(events & POLL.IN)) return 'nothing';
  arenaView.setUint32(0, SockaddrNl.size, true);
  const flags = MSG.PEEK | MSG.DONTWAIT;
  const length = trySyscall('recvfrom', local, arenaAddress + 64, 1, flags, arenaAddress + 16, arenaAddress);
  if (length < 0) return 'nothing';
  return SockaddrNl.decode(arena, 16).groups !== 0 ? 'messages' : 'answer';
}

/** What will be lost. */
const LOST: { readonly [W in Waiting]?: (file: OpenFile) => NoticeFacts } = {
  error: (file) => ({
    ...aboutFile(file),
    reason: 'an error waits in the netlink socket to be reported (messages were lost); it will be lost, too',
  }),
  messages: (file) => ({
    ...aboutFile(file),
    reason: 'messages of the kernel about changes wait in the netlink socket; they will be lost',
    remedy: 'dump it when the program has read them',
  }),
};

function addressOf(local: LocalFd, call: 'getsockname' | 'getpeername'): { port: number; groups: number } {
  const address = rawAddress(call, local);
  return address && address.length >= SockaddrNl.size ? SockaddrNl.decode(address) : { port: 0, groups: 0 };
}

/** More words than any protocol has groups for. */
const ROOM = 4096;

/** The groups a socket is a member of, in ascending order; the first is 1. */
function groupsOf(local: LocalFd): number[] {
  const words = new Uint32Array(getOption(local, NETLINK_OPTION.LIST_MEMBERSHIPS, ROOM, SOL_NETLINK).buffer);
  return Array.from(words.slice(0, ROOM / 4)).flatMap((word, i) =>
    word === 0
      ? []
      : Array.from({ length: 32 }, (_, bit) => bit)
          .filter((bit) => word & (1 << bit))
          .map((bit) => 32 * i + bit + 1),
  );
}

function maskOf(groups: readonly number[]): number {
  return groups.reduce((mask, group) => mask | (1 << (group - 1)), 0) >>> 0;
}

function noteOf(local: LocalFd, groups: readonly number[]) {
  const options = captureForgotten(local, AF.NETLINK);
  const own = Object.entries(OPTIONS).filter(([, name]) => getNumberIfAny(local, name, SOL_NETLINK));
  const type = getNumber(local, SO.TYPE);
  return {
    ...(options ? { options } : {}),
    ...(own.length > 0 ? { own: Object.fromEntries(own.map(([key]) => [key, 1])) } : {}),
    ...(groups.length > 0 ? { groups } : {}),
    ...(type === SOCK.RAW ? {} : { type }),
  };
}

/** Makes a socket again, in its final state. @throws StasisError (conflict) if its port id is taken */
function make(entry: NetlinkSkEntry, context: RestoreContext): Fd {
  const note = notedFile(context, NOTES, entry.id, noteForm) ?? {};
  const fd = new Fd(syscall('socket', AF.NETLINK, (note.type ?? SOCK.RAW) | SOCK.CLOEXEC, entry.protocol));
  try {
    const local = fd.number;
    if (entry.portid !== 0) bind(local, entry);
    for (const group of note.groups ?? []) setNumber(local, NETLINK_OPTION.ADD_MEMBERSHIP, group, SOL_NETLINK);
    for (const [key, name] of Object.entries(OPTIONS)) {
      if (note.own?.[key]) setNumber(local, name, 1, SOL_NETLINK);
    }
    if (entry.state === NETLINK_CONNECTED) {
      const groups = entry.dst_group === 0 ? 0 : 1 << (entry.dst_group - 1);
      const peer = SockaddrNl.encode({ family: AF.NETLINK, port: entry.dst_portid, groups });
      syscall('connect', local, peer, peer.length);
    }
    restoreOptions(local, entry.opts);
    if (entry.opts.reuseaddr) setNumber(local, SO.REUSEADDR, 1);
    restoreForgotten(local, note.options);
    setFlagsAndOwner(local, entry.flags, entry.fown, context);
    return fd;
  } catch (error) {
    fd[Symbol.dispose]();
    throw error;
  }
}

function bind(local: LocalFd, { ino, portid, groups }: NetlinkSkEntry): void {
  const address = SockaddrNl.encode({ family: AF.NETLINK, port: portid, groups: groups[0] ?? 0 });
  const result = trySyscall('bind', local, address, address.length);
  if (result >= 0) return;
  const resource = `socket:[${ino}]`;
  if (result !== -ERRNO.EADDRINUSE) throw new SyscallError('bind', -result, { resource });
  throw new StasisError({
    kind: 'conflict',
    code: 'SOCKET_PORT_TAKEN',
    resource,
    reason: `the port id ${portid} of the netlink socket is used by somebody else now`,
    remedy: `end whoever uses it (ss -f netlink -ap | grep ${portid})`,
  });
}
