/** pipe(2). Each end that was opened is a file of its own; ends of one pipe have one pipe_id, its inode number. */
import { StasisError } from '../../../base/errors.ts';
import { logWarn } from '../../../base/log.ts';
import type { FileKind, OpenFile, RestoreContext, SeenTask } from '../../../contract/contract.ts';
import { Images } from '../../../images/kinds.ts';
import { FdTypes, type PipeEntry } from '../../../images/schema/files.ts';
import { F, O } from '../../../kernel/constants/files.ts';
import { arenaAddress, arenaView, Fd, syscall } from '../../../kernel/syscall.ts';
import { reopen } from '../../../paths/special-file.ts';
import { describeFile, partOf } from '../../../support/fdinfo.ts';
import { notedFile, noteFile } from '../../../support/file-notes.ts';
import { armAsync, captureOwner, imageFlags, setFlagsAndOwner } from '../../../support/fown.ts';
import { captureContent, makePipe, restoreContent, waitingBytes } from '../../../support/pipe-content.ts';

const POLLERR = 8;
const POLLHUP = 16;

export const pipeKind: FileKind = {
  name: 'pipe',
  type: FdTypes.PIPE,

  recognises: (file) => file.link.startsWith('pipe:['),

  obstacle(file, task) {
    if (hasPartner(file) && !partnerIn(task, file)) alone.add(file);
    if (!(file.flags & O.DIRECT) || waitingBytes(file.local) === 0) return undefined;
    return new StasisError({
      kind: 'unsupported',
      task: file.task,
      resource: describeFile(file),
      reason: 'packets wait in a pipe with O_DIRECT; their boundaries cannot be read',
    });
  },

  capture(file, id, context) {
    const pipeId = file.stat.ino;
    captureContent(Images.pipesData, pipeId, file, context);
    if (hasPartner(file)) noteFile(context, 'pipe', id, 'partner');
    if (alone.has(file)) {
      const other = writes(file.flags) ? 'reading' : 'writing';
      const what = `the ${other} end is held outside; restore it with --inherit-fd 'fd[N]:${file.link}'`;
      logWarn('pipe', `task ${file.task.pid}: ${describeFile(file)}: ${what}`);
    }
    const flags = imageFlags(file.flags);
    return { pipe: { id, pipe_id: pipeId, flags, fown: captureOwner(file.local, file.flags) } };
  },

  rebuild(entry, context) {
    const pipe = partOf(entry, 'pipe');
    const inherited = context.options.inheritFd.get(`pipe:[${pipe.pipe_id}]`);
    using end = new Fd(inherited === undefined ? takeEnd(pipe, context) : reopen(inherited, pipe.flags));
    setFlagsAndOwner(end.number, pipe.flags, pipe.fown);
    return end.release();
  },

  finish(entry, fd, task) {
    armAsync(fd, partOf(entry, 'pipe').flags, task);
  },
};

/** Whether anybody, in the tree or outside, has the other end open: else poll(2) tells of a hang-up. */
function hasPartner(file: OpenFile): boolean {
  arenaView.setInt32(0, file.local, true);
  arenaView.setInt32(4, 0, true); // no events asked for: hang-up and error are told anyway
  syscall('poll', arenaAddress, 1, 0);
  return (arenaView.getInt16(6, true) & (POLLERR | POLLHUP)) === 0;
}

/** Ends whose other end somebody has, but nobody in the tree, as the last look for obstacles found. */
const alone = new WeakSet<OpenFile>();

/** Access modes of each pipe the tasks of a tree have, as bits: 1 reads, 2 writes. */
const modesOf = new WeakMap<SeenTask['tree'], Map<number, number>>();

function partnerIn(task: SeenTask, file: OpenFile): boolean {
  let modes = modesOf.get(task.tree);
  if (!modes) {
    modes = new Map();
    for (const { link, stat, flags } of task.tree.flatMap(({ fds }) => fds)) {
      if (!link.startsWith('pipe:[')) continue;
      modes.set(stat.ino, (modes.get(stat.ino) ?? 0) | (reads(flags) ? 1 : 0) | (writes(flags) ? 2 : 0));
    }
    modesOf.set(task.tree, modes);
  }
  return ((modes.get(file.stat.ino) ?? 0) & (writes(file.flags) ? 1 : 2)) !== 0;
}

const reads = (flags: number): boolean => (flags & O.ACCMODE) !== O.WRONLY;
const writes = (flags: number): boolean => (flags & O.ACCMODE) !== O.RDONLY;

/** A pipe being rebuilt: its two ends as pipe(2) gave them, and which of its files are still to come. */
class PipeInMaking implements Disposable {
  readonly entries: PipeEntry[] = [];
  #ends: { read: Fd | undefined; write: Fd | undefined } | undefined;
  #left = 0;

  add(entry: PipeEntry): void {
    this.entries.push(entry);
    this.#left++;
  }

  /** One more file of this pipe, with the flags of `entry`. */
  take(entry: PipeEntry, context: RestoreContext): number {
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

  /** An end that pipe(2) made for the first file without O_LARGEFILE; those with it were opened by name in /proc. */
  #end(entry: PipeEntry): number {
    const side = writes(entry.flags) ? 'write' : 'read';
    const original = (e: PipeEntry): boolean => !(e.flags & O.LARGEFILE) && writes(e.flags) === writes(entry.flags);
    const own = this.#ends?.[side] as Fd; // made in take()
    const first = this.entries.find(original) === entry && (entry.flags & O.ACCMODE) !== O.RDWR;
    return first ? syscall('fcntl', own.number, F.DUPFD_CLOEXEC, 0) : reopen(own.number, entry.flags);
  }

  [Symbol.dispose](): void {
    this.#ends?.read?.[Symbol.dispose]();
    this.#ends?.write?.[Symbol.dispose]();
  }
}

/** The end `entry` describes, of a pipe that is made when the first of its ends is asked for. */
function takeEnd(entry: PipeEntry, context: RestoreContext): number {
  const pipes = context.shared('pipes', () => pipesOf(context));
  const pipe = pipes.get(entry.pipe_id) as PipeInMaking; // entry is one of context.files
  refuseLost(entry, pipe.entries, context);
  return pipe.take(entry, context);
}

function pipesOf(context: RestoreContext): Map<number, PipeInMaking> {
  const pipes = new Map<number, PipeInMaking>();
  for (const { pipe } of context.files.values()) {
    if (!pipe) continue;
    let made = pipes.get(pipe.pipe_id);
    if (!made) {
      made = new PipeInMaking();
      pipes.set(pipe.pipe_id, made);
    }
    made.add(pipe);
  }
  return pipes;
}

/** Half a pipe whose other half was open outside the tree would be dead when restored: somebody has to give one. */
function refuseLost(entry: PipeEntry, all: readonly PipeEntry[], context: RestoreContext): void {
  const other = writes(entry.flags) ? reads : writes;
  if (all.some((e) => other(e.flags)) || notedFile(context, 'pipe', entry.id) !== 'partner') return;
  const key = `pipe:[${entry.pipe_id}]`;
  throw new StasisError({
    kind: 'conflict',
    resource: key,
    reason: `the ${writes(entry.flags) ? 'reading' : 'writing'} end was held by a process that is not in the images`,
    remedy: `give another pipe with --inherit-fd 'fd[N]:${key}'`,
  });
}
