/**
 * Descriptors of /dev/net/tun: the user side of a network device. A device that nobody has open is gone, with its
 * addresses and routes, unless it is persistent. So where a device is one of the machine, a dump that ends the tasks
 * makes it persistent, and the restore, which attaches to it again, makes it what it was. A network namespace of the
 * tree is restored with its devices, which are persistent until then.
 */

import type { LocalFd } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import type {
  DumpContext,
  DumpEnd,
  FileDoors,
  OpenFile,
  RestoreContext,
  RestoreEnd,
  SeenTree,
} from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { flag, object, whole } from '../../../images/form.ts';
import { OUR_NAMESPACE_IDS } from '../../../images/namespace-ids.ts';
import { FdTypes, type FileEntry } from '../../../images/schema/files.ts';
import type { TunfileEntry, TunLinkEntry } from '../../../images/schema/network.ts';
import { AF, SOCK } from '../../../kernel/constants/sockets.ts';
import { IFF, TUN_SNDBUF } from '../../../kernel/constants/tun.ts';
import { duplicate } from '../../../kernel/files.ts';
import { describeErrno, Fd, syscall } from '../../../kernel/syscall.ts';
import { SAVED_IDS } from '../../../namespaces/made.ts';
import { readNetwork } from '../../../namespaces/net/saved-network.ts';
import {
  attach,
  isFiltered,
  namespaceOfDevice,
  queueOf,
  sendBuffer,
  setLasting,
  setSendBuffer,
  settledFlags,
  vnetHeader,
} from '../../../namespaces/net/tun-device.ts';
import { ATTACHED_TUN } from '../../../namespaces/net/tun-links.ts';
import { inSavedNetwork, isNetworkThere, networkOf } from '../../../namespaces/networks.ts';
import { deviceIndex } from '../../../network/devices.ts';
import { openRegular } from '../../../paths/open-regfile.ts';
import { captureRegular, regularObstacle } from '../../../paths/regfile.ts';
import { fileObstacle, partOf } from '../../../support/fdinfo.ts';
import { notedFile, noteFile } from '../../../support/file-notes.ts';
import { armAsync } from '../../../support/fown.ts';

const noteForm = object({
  /** IFF_*. */
  flags: whole,
  sendBuffer: whole,
  /** The device is persistent only because of the dump. */
  lasting: flag,
});

export const tunKind: FileDoors = {
  tree: { end: makeLasting, prepare: requireDevices, restoreEnd: makeTransient },

  obstacle(file, task) {
    const queue = queueOf(file.local);
    if (!queue) return regularObstacle(file, task.tree);
    if (!networkOf(file, task.tree)) {
      const reason = `the network device ${queue.name} is in a network namespace that no process of the tree is in`;
      return fileObstacle(file, 'FILE_TUN', reason, 'have the program close it before the dump');
    }
    if (isFiltered(file.local)) {
      const reason = `the network device ${queue.name} has a filter, which the kernel does not tell`;
      return fileObstacle(file, 'FILE_TUN', reason, 'have the program remove it (TUNDETACHFILTER) before the dump');
    }
    return regularObstacle(file, task.tree);
  },

  notice(file, task) {
    const queue = task.options.leaveRunning || !isOfMachine(file, task.tree) ? undefined : queueOf(file.local);
    if (!queue || queue.flags & IFF.PERSIST) return undefined;
    const reason = `the network device ${queue.name} stays on this machine until the restore`;
    const remedy = `ip link delete ${queue.name} removes it, if there is to be no restore`;
    return { task: file.task, resource: file.link, reason, remedy };
  },

  capture(file, id, context) {
    const queue = queueOf(file.local);
    // As in CRIU's images, the entry of the path has the same ID.
    context.addFile({ type: FdTypes.REG, id, reg: captureRegular(file, id, context) });
    const network = networkOf(file, context.tree);
    const ns_id = network?.id ?? OUR_NAMESPACE_IDS.net;
    if (!queue) return { tunf: { id, ns_id } };
    const { name } = queue;
    const flags = network ? network.within(() => settledFlags(queue)) : queue.flags;
    const isTransient = (flags & IFF.PERSIST) === 0;
    const stays = ns_id === OUR_NAMESPACE_IDS.net;
    const lasting = isTransient && !(stays && context.options.leaveRunning);
    if (stays && lasting) TO_LAST.of(context).push(file);
    if (!stays) {
      const sizes = { sendBuffer: sendBuffer(file.local), vnetHeader: vnetHeader(file.local) };
      ATTACHED_TUN.of(context).set(`${namespaceOfDevice(file.local)}/${name}`, sizes);
    }
    const detached = (flags & IFF.DETACH_QUEUE) !== 0;
    noteFile(context, 'tun', id, { flags, sendBuffer: sendBuffer(file.local), lasting });
    return { tunf: { id, netdev: name, ...(detached ? { detached } : {}), ns_id } };
  },

  rebuild: (entry, context) => inSavedNetwork(context, partOf(entry, 'tunf').ns_id, () => open(entry, context)),

  finish(entry, fd, task) {
    armAsync(fd, partOf(entry, 'reg').flags, task);
  },
};

/** Opens a descriptor, in the network namespace it belongs to, and attaches it. */
function open(entry: FileEntry, context: RestoreContext): LocalFd {
  using fd = new Fd(openRegular(partOf(entry, 'reg'), context));
  const { netdev: name, ns_id } = partOf(entry, 'tunf');
  if (name === undefined) return fd.release();
  const { flags, sendBuffer: size, lasting } = noteOf(entry, context);
  const result = attach(fd.number, { name, flags });
  if (result < 0) throw conflict(name, `it cannot be attached to: ${describeErrno(-result)}`);
  if (size !== TUN_SNDBUF) setSendBuffer(fd.number, size);
  const [devices, key] = [LASTING.of(context), `${ns_id ?? 0}/${name}`];
  if (lasting && !devices.has(key)) devices.set(key, duplicate(fd.number));
  return fd.release();
}

/** Whether the device of a queue is in the network namespace of the machine. */
const isOfMachine = (file: OpenFile, tree: SeenTree): boolean => networkOf(file, tree)?.id === OUR_NAMESPACE_IDS.net;

function noteOf(entry: FileEntry, context: RestoreContext): { flags: number; sendBuffer: number; lasting: boolean } {
  const note = notedFile(context, 'tun', entry.id, noteForm);
  if (note) return note;
  const saved = linkOf(partOf(entry, 'tunf'), context);
  if (saved) {
    const flags = saved.flags | (partOf(entry, 'tunf').detached ? IFF.DETACH_QUEUE : 0);
    return { flags, sendBuffer: saved.sndbuf, lasting: (flags & IFF.PERSIST) === 0 };
  }
  const reason = 'images of criu keep what this device is with its network namespace, and do not tell of it';
  throw new StasisError({
    kind: 'unsupported',
    code: 'FILE_TUN',
    resource: partOf(entry, 'tunf').netdev ?? '',
    reason,
  });
}

/** What images of criu tell of a device in a network namespace that is restored. */
function linkOf({ netdev, ns_id }: TunfileEntry, context: RestoreContext): TunLinkEntry | undefined {
  if (isNetworkThere(context, ns_id)) return undefined;
  const { links } = readNetwork(context.images, ns_id || SAVED_IDS.of(context, context.root).net);
  return links.find(({ entry }) => entry.name === netdev)?.entry.tun;
}

function conflict(name: string, reason: string): StasisError {
  return new StasisError({
    kind: 'conflict',
    code: 'FILE_TUN',
    resource: `network device ${name}`,
    reason,
    remedy: `make it as it was (ip tuntap add dev ${name}), with its addresses and routes; end who has it open`,
  });
}

/** The descriptors of devices that are to last. */
const TO_LAST = new Slot((_: DumpContext): OpenFile[] => []);

function makeLasting(context: DumpContext, how: DumpEnd): void {
  if (how !== 'dead') return;
  for (const { local } of TO_LAST.ifMade(context) ?? []) setLasting(local, true);
}

/** Devices that are to be transient again, by network namespace and name: one queue of each. */
const LASTING = new Slot((_: RestoreContext) => new Map<string, Fd>());

/** A failed restore can be repeated, so only a successful one makes devices what they were. */
function makeTransient(context: RestoreContext, how: RestoreEnd): void {
  for (const fd of LASTING.ifMade(context)?.values() ?? []) {
    using own = fd;
    if (how === 'restored') setLasting(own.number, false);
  }
}

/** Looks for the devices of the machine before there is a process. @throws StasisError (conflict) naming one */
function requireDevices(context: RestoreContext): void {
  const wanted = [...context.fileEntries.values()].flatMap(({ tunf }) =>
    tunf?.netdev !== undefined && isNetworkThere(context, tunf.ns_id) ? [{ ...tunf, name: tunf.netdev }] : [],
  );
  for (const { name, ns_id } of wanted) {
    inSavedNetwork(context, ns_id, () => {
      using socket = new Fd(syscall('socket', AF.INET, SOCK.DGRAM | SOCK.CLOEXEC, 0));
      if (deviceIndex(socket.number, name) !== undefined) return;
      throw conflict(name, 'there is no such device on this machine');
    });
  }
}
