/** Sockets of IPv4 and IPv6. What only one protocol has is in a file of its own (protocols.ts lists them). */
import type { LocalFd } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import type { DumpContext, FileDoors, OpenFile } from '../../../contract/contract.ts';
import { IPV6 } from '../../../kernel/constants/inet.ts';
import { AF, IPPROTO, SO } from '../../../kernel/constants/sockets.ts';
import { rawAddress } from '../../../kernel/socket-facts.ts';
import { getNumberIfAny, getOptionIfAny } from '../../../kernel/sockets.ts';
import { statusOf } from '../../../kernel/statx.ts';
import { networkIdOf } from '../../../namespaces/networks.ts';
import { type EndFields, endOf, isAny, needsDevice, sockaddrSize } from '../../../network/end-fields.ts';
import { mappedOf } from '../../../network/inet-address.ts';
import { isOwnAddress } from '../../../network/own-address.ts';
import { captureForgotten, captureOptions, optionsObstacle } from '../../../network/socket-options.ts';
import { partOf } from '../../../support/fdinfo.ts';
import { noteFile } from '../../../support/file-notes.ts';
import { armAsync, captureOwner, imageFlags } from '../../../support/fown.ts';
import { captureHeaderOptions } from './header-options.ts';
import { captureForgottenIp, captureIpOptions } from './ip-options.ts';
import { type InetNote, NOTES } from './notes.ts';
import { type InetProtocol, type InetSocket, inetSocket, isInetSocket } from './protocol.ts';
import { protocolOf, protocols } from './protocols.ts';
import { InetSockets } from './restore.ts';

/** Whether a socket is of a protocol that is carried. */
export const hasProtocol = (file: OpenFile): boolean => protocolOf(inetSocket(file)) !== undefined;

export const inetSocketKind: FileDoors = {
  tree: {
    capture(context) {
      if (hasSockets(context)) for (const protocol of protocols) protocol.captured?.(context);
    },
    end(context, how) {
      if (hasSockets(context)) for (const protocol of protocols) protocol.end?.(context, how);
    },
    prepare: (context) => InetSockets.of(context).prepare(),
    rebuilt: { last: (context) => InetSockets.ifMade(context)?.rebuilt() },
    restoreEnd: (context, how) => InetSockets.ifMade(context)?.end(how),
  },

  obstacle(file, task) {
    const socket = inetSocket(file);
    return handlerOf(socket).obstacle?.(socket, task) ?? optionsObstacle(file);
  },

  notice(file, task) {
    const socket = inetSocket(file);
    return handlerOf(socket).notice?.(socket, task);
  },

  capture(file, id, context) {
    const socket = inetSocket(file);
    const { local, family, type, protocol } = socket;
    const { entry, note } = handlerOf(socket).capture(socket, id, context);
    const source = endOf(family, rawAddress('getsockname', local));
    const destination = endOf(family, peerAddress(local, family));
    const opts = captureOptions(local, family);
    const noted = {
      ...noteFor(socket, note, context),
      ...(isForeign(family, source, context) ? { foreign: true } : {}),
    };
    if (Object.keys(noted).length > 0) noteFile(context, NOTES, id, noted);
    return {
      isk: {
        id,
        ino: file.stat.ino,
        family,
        type,
        proto: protocol,
        src_port: source.port,
        dst_port: destination.port,
        flags: imageFlags(file.flags),
        backlog: 0,
        src_addr: [...source.words],
        dst_addr: [...destination.words],
        fown: captureOwner(local, file.flags, context),
        opts,
        ip_opts: captureIpOptions(local, family),
        ns_id: networkIdOf(file, context.tree),
        ...(family === AF.INET6 ? { v6only: getNumberIfAny(local, IPV6.V6ONLY, IPPROTO.IPV6) === 1 } : {}),
        ...boundDevice(family, source, opts.so_bound_dev),
        ...entry,
      },
    };
  },

  rebuild: (entry, context) => InetSockets.of(context).take(partOf(entry, 'isk')),

  finish(entry, fd, task) {
    armAsync(fd, partOf(entry, 'isk').flags, task);
  },
};

function hasSockets({ tree }: DumpContext): boolean {
  return tree.tasks.some(({ fds }) => fds.some(isInetSocket));
}

/** The protocol of a socket that was recognised. */
function handlerOf(socket: InetSocket): InetProtocol {
  const protocol = protocolOf(socket);
  if (protocol) return protocol;
  throw new StasisError({ kind: 'internal', reason: `${socket.file.link} was not recognised` });
}

/** The peer's address, which a connection that has ended has as well. */
function peerAddress(local: LocalFd, family: number): Uint8Array | undefined {
  return getOptionIfAny(local, SO.PEERNAME, sockaddrSize(family));
}

/** The device that a link-local address belongs to. */
function boundDevice(family: number, source: EndFields, device: string | undefined): { ifname?: string } {
  return device && source.port !== 0 && needsDevice(family, source) ? { ifname: device } : {};
}

/** Whether an address that a socket is bound to is none of this machine. Link-local ones are not looked for. */
function isForeign(family: number, source: EndFields, context: DumpContext): boolean {
  if (isAny(source) || needsDevice(family, source)) return false;
  const bytes = new Uint8Array(new Uint32Array(source.words).buffer);
  const address = mappedOf(bytes) ?? bytes;
  return !address.every((byte) => byte === 0) && !isMulticast(address) && !isOwnAddress(address, context);
}

function isMulticast([first = 0, ...others]: Uint8Array): boolean {
  return others.length === 3 ? first >= 224 : first === 0xff;
}

function noteFor({ local, family, type }: InetSocket, own: InetNote | undefined, { tree }: DumpContext): InetNote {
  const options = captureForgotten(local, family);
  const ip = captureForgottenIp(local, family, type);
  const headers = captureHeaderOptions(local, family);
  const { uid } = statusOf(local);
  return {
    ...own,
    ...(options ? { options } : {}),
    ...(ip ? { ip } : {}),
    ...(headers ? { headers } : {}),
    ...(tree.ids.uidThere(uid) === 0 ? {} : { uid: tree.ids.uidThere(uid) }),
  };
}
