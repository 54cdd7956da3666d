/** A dump from beginning to end. */

import type { HostPid } from '../../base/brands.ts';
import { ObstacleError, type StasisError } from '../../base/errors.ts';
import { logDebug, logInfo } from '../../base/log.ts';
import { Notices } from '../../base/notice.ts';
import { Part } from '../../base/part.ts';
import { UndoStack } from '../../base/undo.ts';
import type { CarryOptions, DumpContext, DumpEnd, SeenTree } from '../../contract/contract.ts';
import { ImageSetWriter } from '../../images/image-set-writer.ts';
import { SIG } from '../../kernel/constants/signals.ts';
import { disk } from '../../kernel/disk.ts';
import { nap } from '../../kernel/nap.ts';
import { requirePageSize } from '../../kernel/page-size.ts';
import { ERRNO, trySyscall } from '../../kernel/syscall.ts';
import { treeDoors } from '../../kinds/registry.ts';
import { privateBytes, WORTH_A_COPY } from '../../memory/live/amount.ts';
import type { PageServerPlace } from '../../memory/page-server/client.ts';
import type { Pages } from '../../memory/pages.ts';
import type { PagesElsewhere } from '../../memory/sinks/sink.ts';
import type { Tracking } from '../../memory/tracking/tracking.ts';
import { NetworkStay } from '../../namespaces/inside.ts';
import { heldUpInits } from '../../namespaces/pid/seen.ts';
import { isElsewhere } from '../../namespaces/seen.ts';
import type { ArchiveWriter } from '../../support/archive/writer.ts';
import { RUN_ID } from '../../support/run-id.ts';
import { pointOfNoReturn, withOutcome } from '../../tracee/interruption.ts';
import { awaitEnds, killTracee } from '../../tracee/ptrace.ts';
import { retryWhileStranded } from '../../tracee/stranded.ts';
import { type ArchiveOptions, openArchive, pagesOfArchive } from '../archive.ts';
import { beginTracking, NOT_CONTINUED } from '../chain.ts';
import { dedupAfter } from '../dedup.ts';
import { compressedPages, connectPageServer } from '../elsewhere.ts';
import { fire, type Hooks } from '../hooks.ts';
import type { DumpOutcome } from '../outcome.ts';
import type { GivingPlace, PagesGiver } from '../page-server/give.ts';
import { DumpClock } from '../stats.ts';
import { orLog, TreeLife } from '../tree-life.ts';
import { meetKinds } from './file-table.ts';
import { FrozenTree } from './freeze/freeze.ts';
import { commit } from './inventory.ts';
import type { LiveMemory } from './live.ts';
import { enterNetworkOf } from './namespaces.ts';
import { inspectRunning, noticesOf, obstaclesOf } from './preflight.ts';
import { beginDump, saveTree } from './save.ts';
import { TreeSnapshot } from './snapshot.ts';

// Only for trees with zombies.
const LEFT = new Part(() => require('../../memory/live/left.ts') as typeof import('../../memory/live/left.ts'));
// Only for large trees that go on.
const LIVE = new Part(() => require('./live.ts') as typeof import('./live.ts'));
// Only for such that are larger still.
const REHEARSAL = new Part(() => require('./rehearsal.ts') as typeof import('./rehearsal.ts'));
const GIVING = new Part(() => require('../page-server/give.ts') as typeof import('../page-server/give.ts'));

/** From how many bytes of private memory on the dump of a tree that goes on is rehearsed: it takes long anyway. */
const WORTH_A_REHEARSAL = 128 << 20;

/** The options of a dump: which process, where to, and what happens to the tree afterwards. */
export interface DumpOptions {
  readonly pid: HostPid;
  readonly imagesDir: string;
  readonly workDir: string;
  readonly finalState: 'dead' | 'running' | 'stopped';
  /** Seconds the freeze may take. */
  readonly timeout: number;
  /** `--freeze-cgroup`: the directory of a cgroup that has the tree in it. */
  readonly freezeCgroup: string | undefined;
  /** `--prev-images-dir`: the images of the previous dump, relative to the images directory. */
  readonly previous: string | undefined;
  /** Whether the next dump of the tree is to know what has changed since this one. */
  readonly trackMem: boolean;
  /** The page server that stores the pages; undefined: they go into the images. */
  readonly pageServer: PageServerPlace | undefined;
  /** Whether to free what the previous images hold in vain when these are complete. */
  readonly autoDedup: boolean;
  /** Whether pages are compressed. */
  readonly compress: boolean;
  /** Tasks keep the pages that a restore may leave until they are needed, and stay frozen until those were given. */
  readonly keeping:
    | {
        /** Where to wait for a lazy-pages daemon. */
        readonly place: GivingPlace;
        /** Called when the images are complete and it can connect. */
        readonly ready: (place: { readonly name: string; readonly port: number }) => void;
      }
    | undefined;
  /** The archive that the images go into; undefined: they go into the images directory. */
  readonly to: ArchiveOptions | undefined;
  /** Whether to write `stats-dump` into the work directory. */
  readonly writesStats: boolean;
  readonly carry: CarryOptions;
}

/**
 * Dumps a process tree. Either the dump completes, or the tree continues as before.
 * @throws StasisError; ObstacleError if the preflight finds state that cannot be carried, before the tree is touched
 * @throws InterruptedError when a signal asks Stasis to end before the images are whole
 */
export function dump(options: DumpOptions, hooks: Hooks = {}): DumpOutcome {
  requirePageSize();
  const { pid } = options;
  hooks.progress?.({ step: 'looking', done: 0, total: 0 });
  const bytes = lookAround(options, hooks);
  logDebug('preflight: nothing in the way');
  fire(hooks, { point: 'pre-dump', pid });
  // Nothing is noticed any more of tasks that end.
  const trackMem = options.trackMem && options.finalState !== 'dead';
  using tracking = beginTracking(pid, { ...options, trackMem });
  using elsewhere = connectPageServer(options.pageServer);
  if (options.compress) compressedPages(); // an error now, if that is not possible
  using archive = openArchive(options.to);
  using giver = options.keeping && new (GIVING.load().PagesGiver)(options.keeping.place);
  try {
    if (bytes >= WORTH_A_REHEARSAL) rehearse(options);
    const makeLive = (): LiveMemory | undefined => (bytes >= WORTH_A_COPY ? new (LIVE.load().LiveMemory)() : undefined);
    const company = { tracking, server: elsewhere, archive, giver };
    const outcome = retryWhileStranded(() => freezeAndSave(options, makeLive, company, hooks));
    return options.autoDedup ? dedupAfter(outcome, options.imagesDir) : outcome;
  } catch (error) {
    throw withOutcome(error, `task ${pid} and its tree go on, and no images are left`);
  }
}

/**
 * The preflight. Returns how much private memory the largest task has, if the tree can go on before that is stored;
 * otherwise 0. Hooks are called at the end of the dump, when the images are complete and the tree still stands. With
 * --freeze-cgroup the tree may be in a cgroup that was frozen before, and copies of its memory could not end there.
 * @throws ObstacleError
 */
function lookAround({ pid, carry, finalState, keeping, freezeCgroup }: DumpOptions, { at }: Hooks): number {
  const left: HostPid[] = [];
  const bytes = inspectRunning(pid, carry, (tree, found) => {
    requireCarriable(tree, found);
    if (tree.dead.length > 0) left.push(...LEFT.load().leftCopies(tree.dead));
    return Math.max(...tree.tasks.map(({ vmas }) => privateBytes(vmas)));
  });
  if (left.length > 0) LIVE.load().reapLeftCopies(left);
  return finalState === 'running' && !at && !keeping && freezeCgroup === undefined ? bytes : 0;
}

/** Dumps a process that nobody needs in the way of a dump of a tree that goes on. @throws InterruptedError */
function rehearse(options: DumpOptions): void {
  REHEARSAL.load().rehearse(options, (rehearsed) => {
    const makeLive = (): LiveMemory => new (LIVE.load().LiveMemory)({ least: 0, age: 0 });
    freezeAndSave(rehearsed, makeLive, {}, {});
  });
}

/** What lasts longer than one attempt to freeze the tree. */
interface Company {
  readonly tracking?: Tracking | undefined;
  readonly server?: PagesElsewhere | undefined;
  readonly archive?: ArchiveWriter | undefined;
  readonly giver?: PagesGiver | undefined;
}

function freezeAndSave(
  options: DumpOptions,
  makeLive: () => LiveMemory | undefined,
  { tracking, server, archive, giver }: Company,
  hooks: Hooks,
): DumpOutcome {
  const { pid } = options;
  archive?.restart();
  const elsewhere = options.compress ? compressedPages() : archive ? pagesOfArchive(archive) : server;
  hooks.progress?.({ step: 'freezing', done: 0, total: 0 });
  using stay = new NetworkStay();
  const ownNetwork = isElsewhere(pid, 'net');
  enterNetworkOf(pid, stay);
  using images = new ImageSetWriter(options.imagesDir, archive?.disk ?? disk);
  const clock = new DumpClock();
  // Undone after the tree has been let go.
  using live = makeLive();
  using tree = FrozenTree.freeze(pid, options);
  // Undone before the tasks continue: they must not see files that were made for the images.
  using undo = new UndoStack();
  clock.frozen();
  if (ownNetwork) {
    fire(hooks, { point: 'network-lock', pid });
    undo.add(() => void fire(hooks, { point: 'network-unlock', pid }));
  }
  logInfo(`task ${pid} is frozen, in a tree of ${tree.processes.length}`);
  using snapshot = snapshotOf(tree, withExternal(options.carry, pid, hooks));
  using life = new TreeLife<DumpContext, DumpEnd>(
    treeDoors.map((doors) => (of, how) => doors.end?.(of, how)),
    'failed',
  );
  const notices = new Notices();
  for (const notice of noticesOf(snapshot)) notices.add(notice);
  const making = beginDump(
    tree.processes,
    snapshot,
    images,
    undo,
    notices,
    hooks,
    tracking,
    elsewhere,
    giver !== undefined,
    live,
  );
  if (options.previous !== undefined) {
    images.linkParent(options.previous);
    if (!tracking?.isContinued) notices.add(NOT_CONTINUED);
  }
  life.begin(making.context);
  for (const doors of treeDoors) doors.frozen?.(making.context);
  saveTree(tree.processes, snapshot.tasks, making, hooks);
  if (live?.isUsed) {
    life.end('running');
    snapshot[Symbol.dispose]();
    finish(tree, 'running', undo, notices, new Set());
    clock.released();
    live.store(making.pages, clock, notices);
  }
  making.pages.finish();
  clock.counted(making.pages);
  if (archive) saveArchive(archive, images, making.context);
  else {
    // What tasks keep is not saved before it was given.
    if (!giver) pointOfNoReturn();
    commit(images, making.context);
  }
  // Written after the images, so that the statistics do not take the last space on the disk from them.
  if (options.writesStats) clock.write(options.workDir, notices);
  const exitCode = fire(hooks, { point: 'post-dump', pid, tasks: runnable(tree) });
  const finalState = exitCode === 0 ? options.finalState : 'running';
  if (giver) {
    if (exitCode === 0) give(giver, making.pages, options);
    pointOfNoReturn();
  }
  // The tasks are killed all or none: from here on the kernel kills them if Stasis is killed before it has killed all
  // (PTRACE_O_EXITKILL). Setting this option wakes no task, so the loop takes very little time. It comes before the
  // kinds end, since connections of tasks that are about to be killed must not be left in repair mode by us.
  if (finalState === 'dead') for (const { threads } of tree.processes) threads[0]?.tracee.dieWithUs();
  life.end(finalState);
  const heldUp = heldUpInits(snapshot);
  snapshot[Symbol.dispose]();
  finish(tree, finalState, undo, notices, heldUp);
  if (finalState === 'dead') for (const doors of treeDoors) orLog(() => doors.dead?.(making.context));
  clock.thawed();
  if (finalState !== 'dead') tracking?.keep(RUN_ID.of(making.context));
  return { exitCode, figures: clock.figures, notices: notices.list };
}

/** The processes that run when the tree is let go: neither dead nor stopped (SIGSTOP) before the freeze. */
function runnable({ processes }: FrozenTree): HostPid[] {
  const runs = ({ threads: [main] }: FrozenTree['processes'][number]): boolean => main?.tracee.groupStop === undefined;
  return processes.filter((process) => !process.zombie && runs(process)).map(({ pid }) => pid);
}

/** Completes images that go into an archive. What is still to be written may be much, and can be given up. */
function saveArchive(archive: ArchiveWriter, images: ImageSetWriter, context: DumpContext): void {
  commit(images, context);
  archive.write();
  pointOfNoReturn();
  archive.complete();
}

/** Gives the pages that the tasks have kept. If that fails they go on, and the images are of no use. */
function give(giver: PagesGiver, { kept = new Map() }: Pages, { pid, keeping }: DumpOptions): void {
  using pages = new (GIVING.load().PagesOfTasks)(kept);
  logInfo(`waiting at ${giver.place.name} for a lazy-pages daemon`);
  try {
    keeping?.ready(giver.place);
    giver.serve(pages);
  } catch (error) {
    throw withOutcome(error, `task ${pid} and its tree go on; the images lack the pages that were not given`);
  }
}

/** Asks for further resources that are brought along, when all stand still, as CRIU does. */
function withExternal(carry: CarryOptions, pid: number, hooks: Hooks): CarryOptions {
  const more: string[] = [];
  fire(hooks, { point: 'query-ext-files', pid, addExternal: (key) => void more.push(key) });
  return more.length === 0 ? carry : { ...carry, external: [...carry.external, ...more] };
}

/** @throws ObstacleError naming everything that was found */
export function requireCarriable({ root, tasks }: SeenTree, found: readonly StasisError[]): void {
  if (found.length === 0) return;
  const what = found.length === 1 ? 'something' : `${found.length} things`;
  const whose = tasks.length === 1 ? `task ${root.pid}` : `the tree of task ${root.pid}`;
  throw new ObstacleError(`${whose} (${root.stat.comm}) has ${what} that cannot be saved`, found);
}

/** Examines the frozen tree, which may have changed between the preflight and the freeze. @throws ObstacleError */
function snapshotOf(tree: FrozenTree, carry: CarryOptions): TreeSnapshot {
  const alive = tree.processes.filter(({ zombie }) => !zombie).map(({ pid }) => pid);
  const dead = tree.processes.filter(({ zombie }) => zombie).map(({ pid }) => pid);
  const snapshot = steadySnapshot(() => TreeSnapshot.ofFrozen(alive, dead, carry));
  try {
    requireCarriable(snapshot, obstaclesOf(snapshot));
    return snapshot;
  } catch (error) {
    snapshot[Symbol.dispose]();
    throw error;
  }
}

/** How often another snapshot is made while the kernel works for the tasks, and nanoseconds between two. */
const SNAPSHOTS = 20;
const PAUSE = 1_000_000;

/**
 * A snapshot that nothing has changed since. After a while the last one is taken, and the kinds refuse what is still
 * going on.
 */
function steadySnapshot(make: () => TreeSnapshot): TreeSnapshot {
  const unsteady = treeDoors.flatMap((doors) => doors.unsteady ?? []);
  let before: TreeSnapshot | undefined;
  for (let count = 1; ; count++) {
    const snapshot = make();
    try {
      meetKinds(snapshot);
      if (count === SNAPSHOTS || unsteady.every((isUnsteady) => !isUnsteady(snapshot, before))) return snapshot;
    } catch (error) {
      snapshot[Symbol.dispose]();
      throw error;
    }
    snapshot[Symbol.dispose]();
    if (before) nap(PAUSE);
    before = snapshot;
  }
}

/**
 * The last step: the tasks are killed, continue, or stay stopped. What was made for the images is undone if they
 * continue. Nobody waits for the ends of those that are `heldUp`.
 */
function finish(
  tree: FrozenTree,
  finalState: DumpOptions['finalState'],
  undo: UndoStack,
  notices: Notices,
  heldUp: ReadonlySet<HostPid>,
): void {
  const pids = tree.processes.map(({ pid }) => pid);
  if (finalState === 'dead') {
    undo.keep();
    for (const pid of pids) killTracee(pid);
    // The tracer can reap the main thread of a process only after the other threads are gone.
    const threads = tree.processes.toReversed().flatMap((process) => process.threads.toReversed());
    awaitEnds(threads.map(({ tracee }) => tracee.pid).filter((pid) => !heldUp.has(pid)));
    for (const { tracee } of threads) tracee.forget();
    logInfo(`${pids.length === 1 ? `task ${pids[0]} is` : `${pids.length} tasks are`} saved and gone`);
    return;
  }
  undo[Symbol.dispose]();
  const running = finalState === 'stopped' ? pids.filter((pid) => isRefused(trySyscall('kill', pid, SIG.STOP))) : [];
  for (const pid of running) {
    notices.add({ task: { pid }, reason: 'it runs on: Stasis may not stop it', remedy: 'run Stasis with CAP_KILL' });
  }
  tree[Symbol.dispose]();
}

/** Whether a signal could not be sent although there is somebody to have it. */
function isRefused(result: number): boolean {
  return result < 0 && result !== -ERRNO.ESRCH;
}
