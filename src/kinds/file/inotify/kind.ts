/** inotify(7). */
import type { HostPid, LocalFd } from '../../../base/brands.ts';
import type { FileDoors, OpenFile, RestoreContext, SeenTree } from '../../../contract/contract.ts';
import type { InputOf } from '../../../images/message.ts';
import type { InotifyFileEntry, InotifyWdEntry, inotifyWdEntry } from '../../../images/schema/events.ts';
import { IN, INOTIFY_IOC_SETNEXTWD, O } from '../../../kernel/constants/files.ts';
import type { InotifyWatch } from '../../../kernel/proc/fddetail.ts';
import { arenaPath, Fd, SyscallError, syscall } from '../../../kernel/syscall.ts';
import { describeWatched, hasEvents, openWatched, unreachable } from '../../../paths/watched.ts';
import { describeFile, detailIfAny, partOf } from '../../../support/fdinfo.ts';
import { armAsync, captureOwner, imageFlags, setFlagsAndOwner } from '../../../support/fown.ts';

/** The flags that inotify_add_watch(2) accepts. */
const SETTABLE = IN.ALL_EVENTS | IN.EXCL_UNLINK | IN.ONESHOT;

export const inotifyKind: FileDoors = {
  obstacle(file, task) {
    const watches = watchesOf(file);
    if (watches.length === 0) return undefined;
    const lost = watches.find((watch) => !describe(watch, task.pid, task.tree));
    return lost && unreachable(file, lost.ino);
  },

  capture(file, id, context) {
    if (hasEvents(file.local)) {
      const reason = 'events that were not read yet are dropped';
      context.notice({ task: file.task, resource: describeFile(file), reason });
    }
    const { pid } = file.task;
    const wd = watchesOf(file).map((watch) => {
      const entry = describe(watch, pid, context.tree);
      if (!entry) throw unreachable(file, watch.ino);
      return entry;
    });
    return { ify: { id, flags: imageFlags(file.flags), fown: captureOwner(file.local, file.flags, context), wd } };
  },

  rebuild(entry, context) {
    const { flags, fown } = partOf(entry, 'ify');
    using fd = new Fd(syscall('inotify_init1', (flags & O.NONBLOCK) | O.CLOEXEC));
    setFlagsAndOwner(fd.number, flags, fown, context);
    return fd.release();
  },

  // Watches are added last, since making deleted files again would cause events.
  finish(entry, fd, task) {
    const inotify = partOf(entry, 'ify');
    addWatches(inotify, task.context.open(entry.id), task.context);
    armAsync(fd, inotify.flags, task);
  },
};

function watchesOf(file: OpenFile): readonly InotifyWatch[] {
  return detailIfAny(file, 'inotify')?.watches ?? [];
}

function describe(watch: InotifyWatch, pid: HostPid, tree: SeenTree): InputOf<typeof inotifyWdEntry> | undefined {
  const { wd, ino, sdev, mask, ignoredMask, handle } = watch;
  const found = handle && describeWatched({ dev: sdev, ino, handle }, pid, tree);
  return found && { id: 0, i_ino: ino, mask, ignored_mask: ignoredMask, s_dev: sdev, wd, f_handle: found };
}

function addWatches(inotify: InotifyFileEntry, local: LocalFd, context: RestoreContext): void {
  const ascending = [...inotify.wd].sort((a, b) => a.wd - b.wd);
  for (const watch of ascending) addWatch(watch, local, context);
}

/**
 * Adds a watch under its saved number. The file is given by its link in /proc/self/fd, which works whatever its name.
 */
function addWatch(watch: InotifyWdEntry, local: LocalFd, context: RestoreContext): void {
  using target = openWatched(watch.f_handle, watch.s_dev, watch.i_ino, context);
  syscall('ioctl', local, INOTIFY_IOC_SETNEXTWD, watch.wd);
  const path = arenaPath(`/proc/self/fd/${target.number}`);
  const wd = syscall('inotify_add_watch', local, path, (watch.mask & SETTABLE) >>> 0);
  if (wd !== watch.wd) throw new SyscallError('inotify_add_watch', 17, { resource: `watch ${watch.wd}, got ${wd}` });
}
