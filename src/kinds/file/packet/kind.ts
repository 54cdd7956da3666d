/** Packet sockets: what programs capture and send frames with (tcpdump, DHCP clients and servers). */

import type { LocalFd } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import type { FileDoors, OpenFile, SeenTree } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import type { InputOf } from '../../../images/message.ts';
import type { packetRing } from '../../../images/schema/sockets.ts';
import { POLL } from '../../../kernel/constants/files.ts';
import { AF, PACKET, PACKET_FANOUT, SOL_PACKET } from '../../../kernel/constants/sockets.ts';
import { duplicate } from '../../../kernel/files.ts';
import type { PacketDiagRing } from '../../../kernel/layouts/netlink.ts';
import { type PacketSocket, packetSockets } from '../../../kernel/netlink/packet-diag.ts';
import { eventsOf } from '../../../kernel/poll.ts';
import { getNumber, getNumberIfAny } from '../../../kernel/sockets.ts';
import { fromAllNetworks, inSavedNetwork, networkIdOf } from '../../../namespaces/networks.ts';
import { deviceName } from '../../../network/devices.ts';
import { PreparedSockets } from '../../../network/prepared-sockets.ts';
import { captureForgotten, captureOptions, optionsObstacle } from '../../../network/socket-options.ts';
import { aboutFile, fileObstacle, partOf } from '../../../support/fdinfo.ts';
import { noteFile } from '../../../support/file-notes.ts';
import { armAsync, captureOwner, imageFlags } from '../../../support/fown.ts';
import { makePacketSocket, NOTES, OPTIONS, type PacketNote } from './make.ts';

const SOCKETS = new Slot((context: ConstructorParameters<typeof PreparedSockets>[0]) => new PreparedSockets(context));
const LISTED = new Slot((tree: SeenTree) => fromAllNetworks(tree, packetSockets));

const BY_PROGRAM: readonly number[] = [PACKET_FANOUT.CBPF, PACKET_FANOUT.EBPF];
/** Index of a device that is gone. */
const GONE = 0xffff_ffff;
/** Size of `struct virtio_net_hdr`, which packets begin with if PACKET_VNET_HDR is set. */
const USUAL_HEADER = 10;

export const packetKind: FileDoors = {
  tree: {
    prepare(context) {
      for (const { psk } of context.fileEntries.values()) {
        if (!psk) continue;
        SOCKETS.of(context).add(
          psk.id,
          inSavedNetwork(context, psk.ns_id, () => makePacketSocket(psk, context)),
        );
      }
    },
  },

  obstacle(file, { tree }) {
    const facts = listed(file, tree);
    const refuse = (reason: string, remedy: string): StasisError => fileObstacle(file, 'SOCKET_PACKET', reason, remedy);
    if (!facts) return refuse('the kernel does not list the packet socket', 'load the module af_packet_diag');
    if (facts.device === GONE) return refuse('its network device is gone', 'end the capture before the dump');
    if (facts.hasFanout && BY_PROGRAM.includes((getNumber(file.local, PACKET.FANOUT, SOL_PACKET) >> 16) & 0xff)) {
      return refuse(
        'a program of BPF, which cannot be read, chooses who gets a packet',
        'end the capture before the dump',
      );
    }
    return optionsObstacle(file);
  },

  notice(file, { tree }) {
    const facts = listed(file, tree);
    const waits = (eventsOf(file.local, POLL.IN) & POLL.IN) !== 0;
    if (!facts || !(waits || facts.receiveRing)) return undefined;
    const what = facts.receiveRing ? 'the ring it captures into begins anew, empty' : 'packets that wait will be lost';
    return { ...aboutFile(file), reason: `it is a packet socket: ${what}` };
  },

  capture(file, id, context) {
    const { local } = file;
    const facts = listed(file, context.tree);
    if (!facts) throw new StasisError({ kind: 'internal', ...aboutFile(file), reason: 'it is not listed any more' });
    const note = noteOf(local, facts);
    if (Object.keys(note).length > 0) noteFile(context, NOTES, id, note);
    return {
      psk: {
        id,
        type: facts.type,
        // As socket(2) takes it: in network order.
        protocol: ((facts.protocol & 0xff) << 8) | (facts.protocol >> 8),
        flags: imageFlags(file.flags),
        ifindex: facts.device,
        fown: captureOwner(local, file.flags, context),
        opts: captureOptions(local, AF.PACKET),
        version: facts.version,
        reserve: facts.reserve,
        aux_data: facts.auxData,
        orig_dev: facts.origDev,
        vnet_hdr: facts.vnetHeader,
        loss: facts.loss,
        timestamp: facts.timestamp,
        copy_thresh: facts.copyThreshold,
        mclist: facts.memberships.flatMap(({ device, count, type, length, address }) =>
          Array.from({ length: count }, () => ({ index: device, type, addr: address.slice(0, length) })),
        ),
        ...(facts.hasFanout ? { fanout: getNumber(local, PACKET.FANOUT, SOL_PACKET) >>> 0 } : {}),
        ...(facts.receiveRing ? { rx_ring: ringEntry(facts.receiveRing) } : {}),
        ...(facts.sendRing ? { tx_ring: ringEntry(facts.sendRing) } : {}),
        ns_id: networkIdOf(file, context.tree),
      },
    };
  },

  rebuild(entry, context, flags) {
    // To be mapped it has to be the same one, since the rings are the socket's.
    if (flags !== undefined) return duplicate(context.open(entry.id)).release();
    return SOCKETS.of(context).take(partOf(entry, 'psk').id);
  },

  finish(entry, fd, task) {
    armAsync(fd, partOf(entry, 'psk').flags, task);
  },
};

function listed({ stat }: OpenFile, tree: SeenTree): PacketSocket | undefined {
  return LISTED.of(tree).get(stat.ino);
}

function ringEntry(ring: PacketDiagRing): InputOf<typeof packetRing> {
  return {
    block_size: ring.blockSize,
    block_nr: ring.blocks,
    frame_size: ring.frameSize,
    frame_nr: ring.frames,
    retire_tmo: ring.retireTimeout,
    sizeof_priv: ring.privateSize,
    features: ring.features,
  };
}

function noteOf(local: LocalFd, { device, memberships, vnetHeader }: PacketSocket): PacketNote {
  const options = captureForgotten(local, AF.PACKET);
  const own = Object.entries(OPTIONS).filter(([, name]) => getNumberIfAny(local, name, SOL_PACKET));
  const header = vnetHeader ? getNumberIfAny(local, PACKET.VNET_HDR_SZ, SOL_PACKET) : undefined;
  const devices = [...new Set([device, ...memberships.map((member) => member.device)])].flatMap((index) => {
    const name = index === 0 ? undefined : deviceName(local, index);
    return name === undefined ? [] : [[String(index), name] as const];
  });
  return {
    ...(options ? { options } : {}),
    ...(own.length > 0 ? { own: Object.fromEntries(own.map(([key]) => [key, 1])) } : {}),
    ...(header === undefined || header === USUAL_HEADER ? {} : { header }),
    ...(devices.length > 0 ? { devices: Object.fromEntries(devices) } : {}),
  };
}
