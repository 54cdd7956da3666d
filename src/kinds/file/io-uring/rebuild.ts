/**
 * Makes a ring again. It is made by Stasis and handed over, but a ring that only one thread may use (SINGLE_ISSUER)
 * becomes that thread's when the thread enables it. The kernel counts requests and completions from 0, and the program
 * knows the counters: as many requests as it takes are made that do nothing.
 */

import { fromBase64 } from '../../../base/base64.ts';
import { type LocalFd, localFd, type TaskFd } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import type { RestoreContext, RestoreTask, RestoreThread } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { ImageError } from '../../../images/error.ts';
import type { FileEntry } from '../../../images/schema/files.ts';
import { FD_CLOEXEC, O } from '../../../kernel/constants/files.ts';
import { IORING_ENTER, IORING_REGISTER, IORING_SETUP } from '../../../kernel/constants/uring.ts';
import { duplicate } from '../../../kernel/files.ts';
import { Iovec } from '../../../kernel/layouts/memory.ts';
import { UringParams } from '../../../kernel/layouts/uring.ts';
import { borrow, openPidfd } from '../../../kernel/pidfd.ts';
import { Fd } from '../../../kernel/syscall.ts';
import { COUNTER, MappedRing, pagesOf, setUpRing } from '../../../kernel/uring.ts';
import { openAs } from '../../../paths/special-file.ts';
import { partOf } from '../../../support/fdinfo.ts';
import { setFlagsAndOwner } from '../../../support/fown.ts';
import { PLACEHOLDER } from '../../../support/open-in-task.ts';
import { isPolled, notedRing, type RingNote } from '../../../support/ring-notes.ts';
import { markUnsendable } from '../../../tracee/handover.ts';
import { nap } from '../../../tracee/ptrace.ts';
import { advance } from './advance.ts';

/** The rings made so far, by ID. */
const MADE = new Slot((_: RestoreContext) => new Map<number, Fd>());

/** As FileKind.rebuild. A ring has one open file description, so `flags` change nothing. */
export function openRing(entry: FileEntry, context: RestoreContext): LocalFd {
  const made = MADE.of(context);
  let known = made.get(entry.id);
  if (!known && isPolled(noteOf(entry, context))) return openAs(PLACEHOLDER, O.RDWR);
  known ??= make(entry, context);
  made.set(entry.id, known);
  const local = localFd(duplicate(known.number).release());
  markUnsendable(local);
  return local;
}

function noteOf(entry: FileEntry, context: RestoreContext): RingNote {
  const note = notedRing(context, entry.id);
  if (note) return note;
  const reason = 'it is not known what it was: a file of this type is carried by a plugin of CRIU';
  throw new StasisError({ kind: 'unsupported', code: 'FILE_IO_URING', resource: `file ${entry.id}`, reason });
}

const isBound = ({ flags }: RingNote): boolean => (flags & IORING_SETUP.SINGLE_ISSUER) !== 0;
/** Whether the program itself has not enabled the ring yet, so that nobody has used it. */
const isDisabled = ({ flags }: RingNote): boolean => (flags & IORING_SETUP.R_DISABLED) !== 0;

/** Flags that say how sizes were chosen, or with which ring workers are shared, which makes no difference. */
const CHOICES = IORING_SETUP.CLAMP | IORING_SETUP.ATTACH_WQ;

/** The flags with which a ring is made again. */
const flagsOf = (note: RingNote): number => (note.flags & ~CHOICES) | IORING_SETUP.CQSIZE;

function make(entry: FileEntry, context: RestoreContext): Fd {
  const note = noteOf(entry, context);
  const bound = isBound(note) ? IORING_SETUP.R_DISABLED : 0;
  const { fd, params } = setUpRing(note.sqEntries, { flags: flagsOf(note) | bound, cqEntries: note.cqEntries });
  context.atEnd(() => fd[Symbol.dispose]());
  requireLayout(note, params);
  setFlagsAndOwner(fd.number, note.status, partOf(entry, 'ext').fown, context);
  if (!isBound(note)) fill(note, fd.number, (ring, count) => ring.enter(count));
  else if (isDisabled(note)) write(note, fd.number);
  return fd;
}

/** Checks that a ring is arranged as the saved one: the program knows where everything is. @throws StasisError */
function requireLayout(note: RingNote, params: ReturnType<typeof UringParams.decode>): void {
  const { sqOffsets, cqOffsets } = params;
  const isSame =
    params.sqEntries === note.sqEntries &&
    params.cqEntries === note.cqEntries &&
    cqOffsets.cqes === note.cqes &&
    (note.array === undefined || sqOffsets.array === note.array);
  if (isSame) return;
  throw new StasisError({
    kind: 'conflict',
    code: 'FILE_IO_URING',
    resource: 'a ring of io_uring',
    reason: 'this kernel arranges rings in another way than the one they were dumped on',
    remedy: 'restore it on a kernel of that version',
  });
}

/** Brings the counters to where they were, and the contents of the queues back. */
function fill(note: RingNote, fd: number, enter: (ring: MappedRing, count: number, times: number) => void): void {
  using ring = new MappedRing(fd, pagesOf(layoutOf(note)));
  if (!isDisabled(note)) advance(note, ring, fd, (count, times) => enter(ring, count, times));
  writeInto(note, ring);
}

function write(note: RingNote, fd: number): void {
  using ring = new MappedRing(fd, pagesOf(layoutOf(note)));
  writeInto(note, ring);
}

function writeInto(note: RingNote, ring: MappedRing): void {
  const content = fromBase64(note.ring);
  const sqes = fromBase64(note.sqes);
  if (content.length > ring.ringLength || sqes.length > ring.sqesLength) {
    throw new ImageError({
      file: 'stasis-files.jsonl',
      reason: 'the contents of a ring of io_uring are longer than it',
    });
  }
  // These flags are the kernel's.
  ring.writeRing(0, content.subarray(0, COUNTER.sqFlags));
  ring.writeRing(COUNTER.sqFlags + 4, content.subarray(COUNTER.sqFlags + 4));
  ring.writeSqes(0, sqes);
}

const layoutOf = ({ flags, sqEntries, cqEntries, array, cqes }: RingNote) => ({
  ...{ flags, sqEntries, cqEntries },
  sqOffsets: { array: array ?? 0 },
  cqOffsets: { cqes },
});

/** Only the process that has registered buffers and files, and whose thread may use the ring, can do so again. */
export function suitsRing(entry: FileEntry, task: RestoreTask): boolean {
  return noteOf(entry, task.context).owner === task.pid;
}

/** As FileKind.finish: what only the task itself can do. */
export function finishRing(entry: FileEntry, fd: TaskFd, task: RestoreTask): void {
  const note = noteOf(entry, task.context);
  const thread = note.submitter === undefined ? task : task.threads.find(({ tid }) => tid === note.submitter);
  if (!thread) throw new ImageError({ file: 'stasis-files.jsonl', reason: `no thread ${note.submitter} has its ring` });
  task.batch.flush(); // threads of a process use one work area, one after the other
  if (isPolled(note)) makePolled(entry, note, task, thread);
  else if (isBound(note) && !isDisabled(note)) {
    thread.batch.call('io_uring_register', fd, IORING_REGISTER.ENABLE_RINGS, 0, 0);
    thread.batch.flush();
    const made = MADE.of(task.context).get(entry.id) as Fd; // the descriptor is in place
    fill(note, made.number, (_, count, times) => enterRemotely(fd, count, times, thread));
  }
  register(note, fd, thread);
  thread.batch.flush();
}

/** Has the task make a ring whose requests a thread of the kernel takes, a thread of the process that makes it. */
function makePolled(entry: FileEntry, note: RingNote, task: RestoreTask, { batch }: RestoreThread): void {
  const { context } = task;
  const wish = { cqEntries: note.cqEntries, sqThreadIdle: note.idle ?? 0, sqThreadCpu: note.cpu ?? 0 };
  const places = task.fds.filter((place) => place.id === entry.id);
  const program = batch.reserve(places.length + 2, UringParams.size + 16);
  const params = program.data(UringParams.encode({ ...wish, flags: flagsOf(note) }));
  const made = program.call('io_uring_setup', note.sqEntries, params);
  for (const { fd, flags } of places) program.call('dup3', made, fd, flags & FD_CLOEXEC ? O.CLOEXEC : 0);
  program.call('close', made);
  batch.flush();
  requireLayout(note, UringParams.decode(program.bytes(params, UringParams.size)));
  using pidfd = openPidfd(task.tracee.pid);
  const [first] = places;
  if (!first) return;
  const local = new Fd(borrow(pidfd, first.fd));
  context.atEnd(() => local[Symbol.dispose]());
  MADE.of(context).set(entry.id, local);
  context.adopt(entry.id, openRing(entry, context));
  setFlagsAndOwner(local.number, note.status, partOf(entry, 'ext').fown, context);
  fill(note, local.number, (ring) => awaitTaken(ring));
}

/** Nanoseconds between two looks at a queue, and the milliseconds after which it is given up. */
const PAUSE = 20_000;
const LONGEST_WAIT_MS = 10_000;

/** Waits until the thread of the kernel has taken all requests. @throws StasisError (kernel) if it does not */
function awaitTaken(ring: MappedRing): void {
  const end = performance.now() + LONGEST_WAIT_MS;
  for (ring.wake(); ring.counter('sqHead') !== ring.counter('sqTail'); nap(PAUSE)) {
    if (performance.now() < end) continue;
    throw new StasisError({ kind: 'kernel', reason: 'the thread of a ring of io_uring does not take its requests' });
  }
}

function enterRemotely(fd: TaskFd, count: number, times: number, thread: RestoreThread): void {
  for (let i = 0; i < times; i++) {
    thread.batch.call('io_uring_enter', fd, count, 0, IORING_ENTER.GETEVENTS, 0, 0);
  }
  thread.batch.flush();
}

function register({ buffers, files }: RingNote, fd: TaskFd, { batch }: RestoreThread): void {
  if (buffers.length > 0) {
    const bytes = new Uint8Array(buffers.length * Iovec.size);
    buffers.forEach(([base, length], i) => {
      Iovec.encodeInto(bytes, i * Iovec.size, { base: BigInt(base), length: BigInt(length) });
    });
    const program = batch.reserve(1, bytes.length);
    program.call('io_uring_register', fd, IORING_REGISTER.BUFFERS, program.data(bytes), buffers.length);
  }
  if (files.length > 0) {
    const bytes = new Uint8Array(new Int32Array(files).buffer);
    const program = batch.reserve(1, bytes.length);
    program.call('io_uring_register', fd, IORING_REGISTER.FILES, program.data(bytes), files.length);
  }
}
