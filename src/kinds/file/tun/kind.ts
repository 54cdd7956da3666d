/**
 * Descriptors of /dev/net/tun: the user side of a network device. A device that nobody has open is gone, with its
 * addresses and routes, unless it is persistent. So a dump that ends the tasks makes it persistent, and the restore,
 * which attaches to it again, makes it what it was.
 */
import { StasisError } from '../../../base/errors.ts';
import type {
  DumpContext,
  DumpEnd,
  FileKind,
  OpenFile,
  RestoreContext,
  RestoreEnd,
} from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { flag, object, whole } from '../../../images/form.ts';
import { FdTypes, type FileEntry } from '../../../images/schema/files.ts';
import { F, O, S_IF } from '../../../kernel/constants/files.ts';
import { AF, SOCK } from '../../../kernel/constants/sockets.ts';
import { IFF, TUN_SNDBUF } from '../../../kernel/constants/tun.ts';
import { namespaceOf } from '../../../kernel/namespace.ts';
import { describeErrno, Fd, syscall } from '../../../kernel/syscall.ts';
import {
  attach,
  isFiltered,
  namespaceOfDevice,
  queueOf,
  sendBuffer,
  setLasting,
  setSendBuffer,
  settledFlags,
} from '../../../namespaces/net/tun-device.ts';
import { deviceIndex } from '../../../network/devices.ts';
import { openRegular } from '../../../paths/open-regfile.ts';
import { captureRegular, regularObstacle } from '../../../paths/regfile.ts';
import { fileObstacle, partOf } from '../../../support/fdinfo.ts';
import { notedFile, noteFile } from '../../../support/file-notes.ts';
import { armAsync } from '../../../support/fown.ts';

/** Device 10:200. */
const TUN = (10 << 20) | 200;

const noteForm = object({
  /** IFF_*. */
  flags: whole,
  sendBuffer: whole,
  /** The device is persistent only because of the dump. */
  lasting: flag,
});

export const tunKind: FileKind = {
  name: 'tun',
  type: FdTypes.TUNF,
  tree: { end: makeLasting, prepare: requireDevices, restoreEnd: makeTransient },

  recognises: (file) => (file.stat.mode & S_IF.MT) === S_IF.CHR && file.stat.rdev === TUN && !(file.flags & O.PATH),

  obstacle(file, task) {
    const queue = queueOf(file.local);
    if (!queue) return regularObstacle(file, task.tree);
    const own = namespaceOf('self', 'net');
    const namespace = namespaceOfDevice(file.local);
    if (namespace !== undefined && namespace !== own) {
      const reason = `the network device ${queue.name} is in another network namespace than that of Stasis`;
      return fileObstacle(file, 'FILE_TUN', reason, 'run Stasis in that namespace (nsenter --net)');
    }
    if (isFiltered(file.local)) {
      const reason = `the network device ${queue.name} has a filter, which the kernel does not tell`;
      return fileObstacle(file, 'FILE_TUN', reason, 'have the program remove it (TUNDETACHFILTER) before the dump');
    }
    return regularObstacle(file, task.tree);
  },

  notice(file, task) {
    const queue = task.options.leaveRunning ? undefined : queueOf(file.local);
    if (!queue || queue.flags & IFF.PERSIST) return undefined;
    const reason = `the network device ${queue.name} stays on this machine until the restore`;
    const remedy = `ip link delete ${queue.name} removes it, if there is to be no restore`;
    return { task: file.task, resource: file.link, reason, remedy };
  },

  capture(file, id, context) {
    const queue = queueOf(file.local);
    // As in CRIU's images, the entry of the path has the same ID.
    context.addFile({ type: FdTypes.REG, id, reg: captureRegular(file, id, context) });
    if (!queue) return { tunf: { id } };
    const { name, flags } = queue;
    const lasting = (flags & IFF.PERSIST) === 0 && !context.options.leaveRunning;
    if (lasting) TO_LAST.of(context).push(file);
    const detached = (flags & IFF.DETACH_QUEUE) !== 0;
    noteFile(context, 'tun', id, { flags: settledFlags(queue), sendBuffer: sendBuffer(file.local), lasting });
    return { tunf: { id, netdev: name, ...(detached ? { detached } : {}) } };
  },

  rebuild(entry, context) {
    using fd = new Fd(openRegular(partOf(entry, 'reg'), context));
    const name = partOf(entry, 'tunf').netdev;
    if (name === undefined) return fd.release();
    const { flags, sendBuffer: size, lasting } = noteOf(entry, context);
    const result = attach(fd.number, { name, flags });
    if (result < 0) throw conflict(name, `it cannot be attached to: ${describeErrno(-result)}`);
    if (size !== TUN_SNDBUF) setSendBuffer(fd.number, size);
    if (lasting) LASTING.of(context).set(name, new Fd(syscall('fcntl', fd.number, F.DUPFD_CLOEXEC, 0)));
    return fd.release();
  },

  finish(entry, fd, task) {
    armAsync(fd, partOf(entry, 'reg').flags, task);
  },
};

function noteOf(entry: FileEntry, context: RestoreContext): { flags: number; sendBuffer: number; lasting: boolean } {
  const note = notedFile(context, 'tun', entry.id, noteForm);
  if (note) return note;
  const reason = 'images of criu keep what this device is with its network namespace, which is not restored yet';
  throw new StasisError({
    kind: 'unsupported',
    code: 'FILE_TUN',
    resource: partOf(entry, 'tunf').netdev ?? '',
    reason,
  });
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

/** Devices that are to be transient again, by name. */
const LASTING = new Slot((_: RestoreContext) => new Map<string, Fd>());

/** A failed restore can be repeated, so only a successful one makes devices what they were. */
function makeTransient(context: RestoreContext, how: RestoreEnd): void {
  for (const fd of LASTING.ifMade(context)?.values() ?? []) {
    using own = fd;
    if (how === 'restored') setLasting(own.number, false);
  }
}

/** Looks for the devices before there is a process. @throws StasisError (conflict) naming one that is missing */
function requireDevices({ fileEntries }: RestoreContext): void {
  const names = [...fileEntries.values()].flatMap(({ tunf }) => tunf?.netdev ?? []);
  if (names.length === 0) return;
  using socket = new Fd(syscall('socket', AF.INET, SOCK.DGRAM | SOCK.CLOEXEC, 0));
  for (const name of names) {
    if (deviceIndex(socket.number, name) === undefined) throw conflict(name, 'there is no such device on this machine');
  }
}
