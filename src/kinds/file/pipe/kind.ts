/**
 * pipe(2). Each open file description of a pipe is a file of its own. Those of one pipe have the same pipe_id, its
 * inode number.
 */

import { type LocalFd, localFd } from '../../../base/brands.ts';
import type { FileKind, RestoreContext } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { text } from '../../../images/form.ts';
import { Images } from '../../../images/kinds.ts';
import { FdTypes, type PipeEntry } from '../../../images/schema/files.ts';
import { O } from '../../../kernel/constants/files.ts';
import { duplicate } from '../../../kernel/files.ts';
import { Fd } from '../../../kernel/syscall.ts';
import { reopen } from '../../../paths/special-file.ts';
import { partOf } from '../../../support/fdinfo.ts';
import { notedFile, noteFile } from '../../../support/file-notes.ts';
import { armAsync, captureOwner, imageFlags, setFlagsAndOwner } from '../../../support/fown.ts';
import { inheritedFd } from '../../../support/inherited.ts';
import { bringContent, captureContent, restoreContent } from '../../../support/pipe-content.ts';
import { canRead, canWrite, halfNotice, hasPartner, isHalf } from '../../../support/pipe-ends.ts';
import { makePipe } from '../../../support/pipe-packets.ts';

export const pipeKind: FileKind = {
  name: 'pipe',
  type: FdTypes.PIPE,

  recognises: (file) => file.link.startsWith('pipe:['),

  notice(file, task) {
    if (!isHalf(file, task.tree)) return undefined;
    return { task: file.task, resource: file.link, ...halfNotice(canWrite(file.flags), file.link) };
  },

  capture(file, id, context) {
    const pipeId = file.stat.ino;
    captureContent(Images.pipesData, pipeId, file, context);
    if (hasPartner(file)) noteFile(context, 'pipe', id, 'partner');
    const flags = imageFlags(file.flags);
    return { pipe: { id, pipe_id: pipeId, flags, fown: captureOwner(file.local, file.flags, context) } };
  },

  rebuild(entry, context) {
    const pipe = partOf(entry, 'pipe');
    const inherited = inheritedFd(context, `pipe:[${pipe.pipe_id}]`);
    if (inherited !== undefined) bringContent(Images.pipesData, pipe.pipe_id, inherited, context);
    using end = new Fd(inherited === undefined ? takeEnd(pipe, context) : reopen(inherited, pipe.flags));
    setFlagsAndOwner(end.number, pipe.flags, pipe.fown, context);
    return end.release();
  },

  finish(entry, fd, task) {
    armAsync(fd, partOf(entry, 'pipe').flags, task);
  },
};

/** A pipe being rebuilt: its two ends as pipe(2) returned them, and the files still to be made. */
class PipeInMaking implements Disposable {
  readonly entries: PipeEntry[] = [];
  #ends: { read: Fd | undefined; write: Fd | undefined } | undefined;
  #left = 0;

  add(entry: PipeEntry): void {
    this.entries.push(entry);
    this.#left++;
  }

  /** Makes a file of this pipe, with the flags of `entry`. */
  take(entry: PipeEntry, context: RestoreContext): LocalFd {
    this.#ends ??= this.#make(entry.pipe_id, context);
    const fd = this.#end(entry);
    this.#left--;
    if (this.#left === 0) this[Symbol.dispose]();
    return fd;
  }

  #make(pipeId: number, context: RestoreContext): { read: Fd; write: Fd } {
    const [read, write] = makePipe();
    context.atEnd(() => this[Symbol.dispose]());
    const ends = { read: new Fd(read), write: new Fd(write) };
    this.#ends = ends;
    restoreContent(Images.pipesData, pipeId, write, context);
    return ends;
  }

  /**
   * An open file description of the pipe: the one from pipe(2) for the first file without O_LARGEFILE. Files with
   * O_LARGEFILE had been opened through /proc, and are opened so again.
   */
  #end(entry: PipeEntry): LocalFd {
    const side = canWrite(entry.flags) ? 'write' : 'read';
    const original = (e: PipeEntry): boolean => !(e.flags & O.LARGEFILE) && canWrite(e.flags) === canWrite(entry.flags);
    const own = this.#ends?.[side] as Fd; // made in take()
    const first = this.entries.find(original) === entry && (entry.flags & O.ACCMODE) !== O.RDWR;
    return first ? localFd(duplicate(own.number).release()) : reopen(own.number, entry.flags);
  }

  [Symbol.dispose](): void {
    this.#ends?.read?.[Symbol.dispose]();
    this.#ends?.write?.[Symbol.dispose]();
  }
}

/** The file that `entry` describes. The pipe is made when its first file is needed. */
function takeEnd(entry: PipeEntry, context: RestoreContext): LocalFd {
  const pipe = PIPES.of(context).get(entry.pipe_id) as PipeInMaking; // entry is one of context.files
  noticeHalf(entry, pipe.entries, context);
  return pipe.take(entry, context);
}

/** The pipes of a restore, by ID. */
const PIPES = new Slot((context: RestoreContext) => {
  const pipes = new Map<number, PipeInMaking>();
  for (const { pipe } of context.fileEntries.values()) {
    if (!pipe) continue;
    let made = pipes.get(pipe.pipe_id);
    if (!made) {
      made = new PipeInMaking();
      pipes.set(pipe.pipe_id, made);
    }
    made.add(pipe);
  }
  return pipes;
});

/**
 * Gives a notice for a pipe whose other end was open outside of the tree; it is restored as if that end had been
 * closed.
 */
function noticeHalf(entry: PipeEntry, all: readonly PipeEntry[], context: RestoreContext): void {
  const other = canWrite(entry.flags) ? canRead : canWrite;
  if (all.some((e) => other(e.flags)) || notedFile(context, 'pipe', entry.id, text) !== 'partner') return;
  const key = `pipe:[${entry.pipe_id}]`;
  context.notice({ resource: key, ...halfNotice(canWrite(entry.flags), key) });
}
