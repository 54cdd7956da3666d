/**
 * io_uring(7). A ring is carried when none of its requests is in flight: its sizes and flags, its counters, both queues
 * with what waits in them, registered buffers and files. What the kernel keeps of it is read from the kernel's memory
 * (state.ts), since nothing shows it.
 */
import { toBase64 } from '../../../base/base64.ts';
import { StasisError } from '../../../base/errors.ts';
import type {
  DumpContext,
  DumpThread,
  FileDoors,
  OpenFile,
  SeenTask,
  SeenTree,
  TaskKind,
} from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { IORING_ENTER, IORING_SETUP } from '../../../kernel/constants/uring.ts';
import { fileAddresses } from '../../../kernel/kernel-memory.ts';
import { readProc } from '../../../kernel/proc/read.ts';
import { parseStatus } from '../../../kernel/proc/status.ts';
import { MappedRing, pagesOf, setUpRing } from '../../../kernel/uring.ts';
import { fileObstacle } from '../../../support/fdinfo.ts';
import { captureOwner, imageFlags } from '../../../support/fown.ts';
import { isRing, mapsRing, noteRing } from '../../../support/ring-notes.ts';
import type { Program } from '../../../tracee/program.ts';
import { nap } from '../../../tracee/ptrace.ts';
import { mapPolledRings } from './polled.ts';
import { finishRing, openRing, suitsRing } from './rebuild.ts';
import { ownIdleTicks, type RingState, ringState } from './state.ts';

const WITHOUT = 'start the program without io_uring (Node.js: UV_USE_IO_URING=0)';
const NO_URING = `${WITHOUT}, or turn it off: sysctl kernel.io_uring_disabled=2`;

export const ioUringKind: FileDoors = {
  tree: { unsteady: isUnsteady, frozen: awaitRequests },

  obstacle(file, task) {
    const state = STATES.of(task.tree).of(file);
    if (!state) {
      const reason = 'the kernel does not tell what Stasis has to know of this ring of io_uring';
      return refuse(file, reason, `a kernel since 6.17 with eBPF and BTF tells it; or ${NO_URING}`);
    }
    return obstacleOf(file, state, task.tree);
  },

  capture(file, id, context) {
    capture(file, id, context);
    return { ext: { id, fown: captureOwner(file.local, file.flags, context) } };
  },

  rebuild: openRing,
  suits: suitsRing,
  finish: finishRing,
};

/** The states of rings as the obstacle check has found them, by inode: each ring has one of its own. */
class States {
  readonly #known = new Map<number, RingState | undefined>();

  of(file: OpenFile): RingState | undefined {
    if (!this.#known.has(file.stat.ino)) this.#known.set(file.stat.ino, ringState(file));
    return this.#known.get(file.stat.ino);
  }

  ifKnown(file: OpenFile): RingState | undefined {
    return this.#known.get(file.stat.ino);
  }

  get all(): readonly (RingState | undefined)[] {
    return [...this.#known.values()];
  }
}

const STATES = new Slot((_: SeenTree) => new States());

/**
 * Whether requests may have been completed since the descriptors of the tasks were looked at: one may have opened or
 * closed a file, or moved its offset (the thread of a ring with SQPOLL takes requests while the tasks are frozen). They
 * have not if all rings are as they were before that look, and nothing is in flight.
 */
function isUnsteady(tree: SeenTree, before: SeenTree | undefined): boolean {
  const rings = tree.tasks.flatMap(({ fds }) => fds.filter(isRing));
  if (rings.length === 0) return false;
  const states = STATES.of(tree);
  const known = before && STATES.of(before);
  let isSteady = true;
  for (const file of rings) {
    const now = states.of(file);
    const then = known?.ifKnown(file);
    // What waits without an end is refused, and what the kernel does not tell as well.
    if (!now || now.waiting.length > 0) continue;
    const isSame = now.sqHead === then?.sqHead && now.cqTail === then.cqTail;
    isSteady &&= isSame && !isBusy(file, now);
  }
  return !isSteady;
}

/**
 * Whether requests are in flight, or wait to be taken by a thread of the kernel, in a tree that is frozen. A thread
 * that sleeps is woken, as the program was about to do: it may take at any time what is in the queue.
 */
function isBusy(file: OpenFile, state: RingState): boolean {
  if (state.inFlight > 0 || !state.poller) return state.inFlight > 0;
  using ring = new MappedRing(file.local, pagesOf(layoutOf(state)));
  const isWaiting = ring.counter('sqTail') !== state.sqHead;
  if (isWaiting) ring.wake();
  return isWaiting;
}

const layoutOf = ({ flags, sqEntries, cqEntries, array, cqes }: RingState) => ({
  ...{ flags, sqEntries, cqEntries },
  sqOffsets: { array: array ?? 0 },
  cqOffsets: { cqes },
});

function refuse(file: OpenFile, reason: string, remedy = NO_URING): StasisError {
  return fileObstacle(file, 'FILE_IO_URING', reason, remedy);
}

const FLAGS: readonly (readonly [flag: number, what: string])[] = [
  [IORING_SETUP.NO_MMAP, 'queues in memory that the program has given (IORING_SETUP_NO_MMAP)'],
];

/** Of flags that newer kernels may have, nothing is known. */
const KNOWN = Object.values(IORING_SETUP).reduce((bits, flag) => bits | flag, 0);

function obstacleOf(file: OpenFile, state: RingState, tree: SeenTree): StasisError | undefined {
  const { flags, waiting, foreign } = state;
  const has = [...FLAGS.filter(([flag]) => flags & flag).map(([, what]) => what), ...foreign];
  if (flags & ~KNOWN) has.push(`flags that Stasis does not know (0x${(flags & ~KNOWN).toString(16)})`);
  if (has.length > 0) return refuse(file, `the ring of io_uring has ${has.join(', and ')}`);
  if (waiting.length > 0) {
    const reason = `requests of io_uring are in flight that wait for something to happen (${waiting.join(', ')})`;
    return refuse(file, reason, `have the program cancel them before the dump, or ${WITHOUT}`);
  }
  const owner = ownerOf(file, state, tree);
  if (!owner) return refuse(file, 'the only thread that may use this ring of io_uring has ended or is not in the tree');
  const poll = pollObstacle(file, state, owner, tree);
  if (poll) return poll;
  if (numbersOf(state, owner) === undefined) {
    return refuse(
      file,
      'files are registered with the ring of io_uring for which its process has no descriptor any more',
    );
  }
  return undefined;
}

/** The process to which what is registered with a ring belongs; undefined if its only thread is not in the tree. */
function ownerOf(file: OpenFile, { submitter, poller }: RingState, tree: SeenTree): SeenTask | undefined {
  const holders = tree.tasks.filter(({ fds }) =>
    fds.some(({ stat, link }) => isRing({ link }) && stat.ino === file.stat.ino),
  );
  if (poller) return holders.find(({ pid }) => pid === poller.pid);
  if (submitter === undefined) return holders[0];
  return holders.find(({ threads }) => threads.some(({ tid }) => tid === submitter));
}

/**
 * What is in the way of a ring with a thread of the kernel (SQPOLL). That has the rights of whoever makes the ring, and
 * a restore makes it while the process has those of Stasis (io_sq_offload_create() in io_uring/sqpoll.c).
 */
function pollObstacle(file: OpenFile, { poller }: RingState, owner: SeenTask, tree: SeenTree): StasisError | undefined {
  if (!poller) return undefined;
  const { uid, gid, capEff } = owner.status;
  const own = OWN_RIGHTS.of(tree);
  if (uid.effective !== own.uid.effective || gid.effective !== own.gid.effective || capEff !== own.capEff) {
    return refuse(file, 'a thread of the kernel takes its requests (SQPOLL) with other rights than those of Stasis');
  }
  const others = tree.tasks.filter(
    ({ fds }) => !fds.some((other) => isRing(other) && other.stat.ino === file.stat.ino),
  );
  const blind = others.find(({ vmas }) => vmas.some((vma) => mapsRing(vma) && Number(vma.ino) === file.stat.ino));
  if (!blind) return undefined;
  return refuse(file, `task ${blind.pid} has mapped the ring (SQPOLL) and has no descriptor for it`);
}

const OWN_RIGHTS = new Slot((_: SeenTree) => parseStatus(readProc('self', 'status')));

/** The numbers of registered files in their process, -1 for empty places; undefined if one is not among them. */
function numbersOf({ files }: RingState, owner: SeenTask): number[] | undefined {
  if (files.every((address) => address === 0n)) return files.map(() => -1);
  const open = fileAddresses(owner.pid, owner.fds.length + 64) ?? new Map<number, bigint>();
  const own = new Set<number>(owner.fds.map(({ fd }) => fd));
  const numbers = new Map([...open].filter(([fd]) => own.has(fd)).map(([fd, address]) => [address, fd]));
  const found = files.map((address) => (address === 0n ? -1 : numbers.get(address)));
  return found.includes(undefined) ? undefined : (found as number[]); // just checked
}

/** A moment for what disks have begun: it is completed when the tasks run a program of ours. Nanoseconds. */
const MOMENT = 10_000_000;

function awaitRequests({ tree }: DumpContext): void {
  if (STATES.ifMade(tree)?.all.some((state) => state && state.inFlight > 0)) nap(MOMENT);
}

/** Records the ring, which no task uses any more. @throws StasisError if requests are still in flight */
function capture(file: OpenFile, id: number, context: DumpContext): void {
  const state = ringState(file);
  const owner = state && ownerOf(file, state, context.tree);
  const files = state && owner && numbersOf(state, owner);
  if (!state || !files) throw refuse(file, 'the ring of io_uring has changed while the tasks stood still');
  const { flags, sqEntries, cqEntries, sqHead, cqTail, array, cqes, submitter, buffers, poller } = state;
  if (isBusy(file, state)) {
    const reason =
      state.inFlight > 0
        ? `${state.inFlight} requests of io_uring are in flight and do not come to an end`
        : 'requests wait in the queue of io_uring that the thread of the kernel (SQPOLL) does not take';
    throw refuse(file, reason, `dump it again when they have ended, or ${WITHOUT}`);
  }
  using ring = new MappedRing(file.local, pagesOf(layoutOf(state)));
  noteRing(context, id, {
    ...{ status: imageFlags(file.flags), flags, sqEntries, cqEntries, sqHead, cqTail, cqes },
    ...(array === undefined ? {} : { array }),
    ...(submitter === undefined ? {} : { submitter: owner.tree.pids.saved(submitter) }),
    ...(poller === undefined ? {} : { idle: Math.round((1000 * poller.idleTicks) / TICKS.of(context)) }),
    ...(poller?.cpu === undefined ? {} : { cpu: poller.cpu }),
    ring: packed(ring.readRing()),
    sqes: packed(ring.readSqes()),
    owner: owner.tree.pids.saved(owner.pid),
    buffers: buffers.map(({ address, length }) => [String(address), length] as const),
    files,
  });
}

/** The ticks of the kernel in a second (CONFIG_HZ), which nothing tells but a ring of ours that waits a second. */
const TICKS = new Slot((_: DumpContext) => {
  const { fd } = setUpRing(1, { flags: IORING_SETUP.SQPOLL, sqThreadIdle: 1000 });
  using own = fd;
  const ticks = ownIdleTicks(own.number);
  if (ticks) return ticks;
  throw new StasisError({ kind: 'kernel', reason: 'the length of a tick of the kernel cannot be found out' });
});

/** Bytes without the zeros at their end, in Base64. */
function packed(bytes: Uint8Array): string {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  return toBase64(bytes.subarray(0, end));
}

/**
 * Requests that disks have completed become completions when the thread that has submitted them runs. A ring with
 * DEFER_TASKRUN wants that thread to ask for them.
 */
function collect(thread: DumpThread, program: Program): undefined {
  const states = STATES.ifMade(thread.context.tree);
  if (!states) return;
  for (const file of thread.process.fds) {
    if (!isRing(file)) continue;
    const state = states.of(file);
    if (!state || state.inFlight === 0 || state.submitter !== thread.tid) continue;
    program.attempt('io_uring_enter', file.fd, 0, 0, IORING_ENTER.GETEVENTS, 0, 0);
  }
}

/** What tasks do for rings: completions that only one thread can collect, and mappings of rings made by the process. */
export const ioUringTasks: TaskKind = {
  name: 'io-uring-tasks',
  thread: { capture: collect },
  rebuild: { state: mapPolledRings },
};
