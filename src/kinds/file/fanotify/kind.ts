/** fanotify(7). */
import type { HostPid, LocalFd } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import type { FileDoors, OpenFile, RestoreContext, SeenTree } from '../../../contract/contract.ts';
import type { InputOf } from '../../../images/message.ts';
import { type FanotifyMarkEntry, type fanotifyMarkEntry, MarkType } from '../../../images/schema/events.ts';
import { AT, F, FAN, FD_CLOEXEC } from '../../../kernel/constants/files.ts';
import type { FanotifyMark } from '../../../kernel/proc/fddetail.ts';
import { arenaPath, Fd, syscall } from '../../../kernel/syscall.ts';
import { placeOfEntry } from '../../../namespaces/places.ts';
import {
  describeWatched,
  hasEvents,
  MOUNTS,
  openWatched,
  openWatchedPath,
  unreachable,
} from '../../../paths/watched.ts';
import { describeFile, detailOf, fileObstacle, partOf } from '../../../support/fdinfo.ts';
import { armAsync, captureOwner, imageFlags, setFlagsAndOwner } from '../../../support/fown.ts';

/** Carries marks on inodes and on mounts. CRIU's images have no place for marks on file systems and namespaces. */
export const fanotifyKind: FileDoors = {
  obstacle(file, task) {
    const { marks } = detailOf(file, 'fanotify');
    for (const mark of marks) {
      if (!describe(mark, task.pid, task.tree)) return refusal(file, mark);
    }
    return undefined;
  },

  capture(file, id, context) {
    if (hasEvents(file.local)) {
      const reason = 'events that were not read yet are dropped';
      context.notice({ task: file.task, resource: describeFile(file), reason });
    }
    const { pid } = file.task;
    const { flags: faflags, eventFlags: evflags, marks } = detailOf(file, 'fanotify');
    const mark = marks.map((seen) => {
      const entry = describe(seen, pid, context.tree);
      if (!entry) throw refusal(file, seen);
      return entry;
    });
    const fown = captureOwner(file.local, file.flags, context);
    return { ffy: { id, flags: imageFlags(file.flags), fown, faflags, evflags, mark } };
  },

  rebuild(entry, context) {
    const { flags, fown, faflags, evflags } = partOf(entry, 'ffy');
    // Exactly the original flags, since the instance keeps and shows them.
    using fd = new Fd(syscall('fanotify_init', faflags, evflags));
    syscall('fcntl', fd.number, F.SETFD, FD_CLOEXEC);
    setFlagsAndOwner(fd.number, flags, fown, context);
    return fd.release();
  },

  // Marks are added last, so that files opened by Stasis cause no events and no permission requests that nobody
  // answers.
  finish(entry, fd, task) {
    const { flags, mark } = partOf(entry, 'ffy');
    const local = task.context.open(entry.id);
    for (const one of mark) addMark(one, local, task.context);
    armAsync(fd, flags, task);
  },
};

function describe(mark: FanotifyMark, pid: HostPid, tree: SeenTree): InputOf<typeof fanotifyMarkEntry> | undefined {
  const common = { id: 0, mflags: mark.markFlags, mask: mark.mask, ignored_mask: mark.ignoredMask };
  if (mark.on === 'mount') {
    const mount = MOUNTS.of(tree, pid).find((candidate) => candidate.mountId === mark.mntId);
    if (!mount) return undefined;
    const dev = mount.devMajor * 2 ** 20 + mount.devMinor;
    return { ...common, type: MarkType.MOUNT, s_dev: dev, me: { mnt_id: mount.mountId, path: mount.mountPoint } };
  }
  const { ino, sdev, handle } = mark;
  if (mark.on !== 'inode' || ino === undefined || sdev === undefined || !handle) return undefined;
  const found = describeWatched({ dev: sdev, ino, handle }, pid, tree);
  return found && { ...common, type: MarkType.INODE, s_dev: sdev, ie: { i_ino: ino, f_handle: found } };
}

function refusal(file: OpenFile, mark: FanotifyMark): StasisError {
  if (mark.on === 'inode' && mark.ino !== undefined) return unreachable(file, mark.ino);
  const reason =
    mark.on === 'mount'
      ? `it watches mount ${mark.mntId}, which the process does not see`
      : `it watches a whole ${mark.on}`;
  return fileObstacle(file, mark.on === 'mount' ? 'WATCH_UNREACHABLE' : 'WATCH_WHOLE', reason);
}

function addMark(mark: FanotifyMarkEntry, local: LocalFd, context: RestoreContext): void {
  using target = openMarked(mark, context);
  const on = FAN.MARK_ADD | mark.mflags | (mark.type === MarkType.MOUNT ? FAN.MARK_MOUNT : 0);
  const path = (): number => arenaPath(`/proc/self/fd/${target.number}`);
  if (mark.mask !== 0) syscall('fanotify_mark', local, on, mark.mask, AT.FDCWD, path());
  if (mark.ignored_mask !== 0) {
    syscall('fanotify_mark', local, on | FAN.MARK_IGNORED_MASK, mark.ignored_mask, AT.FDCWD, path());
  }
}

function openMarked(mark: FanotifyMarkEntry, context: RestoreContext): Fd {
  if (mark.type === MarkType.MOUNT && mark.me) {
    // Some versions of CRIU leave out the first slash.
    const path = mark.me.path ?? '';
    return openWatchedPath(path.startsWith('/') ? path : `/${path}`, placeOfEntry(mark.me, context));
  }
  if (mark.ie) return openWatched(mark.ie.f_handle, mark.s_dev, mark.ie.i_ino, context);
  throw new StasisError({ kind: 'image', resource: 'files.img', reason: 'a fanotify mark on nothing' });
}
