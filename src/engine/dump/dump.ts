/** A dump from beginning to end. */

import type { HostPid } from '../../base/brands.ts';
import { ObstacleError, type StasisError } from '../../base/errors.ts';
import { logDebug, logInfo } from '../../base/log.ts';
import { Notices } from '../../base/notice.ts';
import { UndoStack } from '../../base/undo.ts';
import type { CarryOptions, DumpContext, DumpEnd, SeenTree } from '../../contract/contract.ts';
import { ImageSetWriter } from '../../images/image-set-writer.ts';
import { SIG } from '../../kernel/constants/signals.ts';
import { disk } from '../../kernel/disk.ts';
import { nap } from '../../kernel/nap.ts';
import { requirePageSize } from '../../kernel/page-size.ts';
import { ERRNO, trySyscall } from '../../kernel/syscall.ts';
import { treeDoors } from '../../kinds/registry.ts';
import { NetworkStay } from '../../namespaces/inside.ts';
import { heldUpInits } from '../../namespaces/pid/seen.ts';
import { isElsewhere } from '../../namespaces/seen.ts';
import { pointOfNoReturn, withOutcome } from '../../tracee/interruption.ts';
import { awaitEnds, killTracee } from '../../tracee/ptrace.ts';
import { retryWhileStranded } from '../../tracee/stranded.ts';
import { fire, type Hooks } from '../hooks.ts';
import type { DumpOutcome } from '../outcome.ts';
import { DumpClock } from '../stats.ts';
import { orLog, TreeLife } from '../tree-life.ts';
import { FrozenTree } from './freeze/freeze.ts';
import { commit } from './inventory.ts';
import { enterNetworkOf } from './namespaces.ts';
import { inspectRunning, noticesOf, obstaclesOf } from './preflight.ts';
import { beginDump, saveTree } from './save.ts';
import { TreeSnapshot } from './snapshot.ts';

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
  preflight(pid, options.carry);
  logDebug('preflight: nothing in the way');
  fire(hooks, { point: 'pre-dump', pid });
  try {
    return retryWhileStranded(() => freezeAndSave(options, hooks));
  } catch (error) {
    throw withOutcome(error, `task ${pid} and its tree go on, and no images are left`);
  }
}

function freezeAndSave(options: DumpOptions, hooks: Hooks): DumpOutcome {
  const { pid } = options;
  hooks.progress?.({ step: 'freezing', done: 0, total: 0 });
  using stay = new NetworkStay();
  const ownNetwork = isElsewhere(pid, 'net');
  enterNetworkOf(pid, stay);
  using images = new ImageSetWriter(options.imagesDir, disk);
  const clock = new DumpClock();
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
  const making = beginDump(tree.processes, snapshot, images, undo, notices, hooks);
  life.begin(making.context);
  for (const doors of treeDoors) doors.frozen?.(making.context);
  saveTree(tree.processes, snapshot.tasks, making, hooks);
  clock.counted(making.pages);
  pointOfNoReturn();
  commit(images, making.context);
  // Written after the images, so that the statistics do not take the last space on the disk from them.
  clock.write(options.workDir, notices);
  const exitCode = fire(hooks, { point: 'post-dump', pid });
  const finalState = exitCode === 0 ? options.finalState : 'running';
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
  return { exitCode, figures: clock.figures, notices: notices.list };
}

/** Asks for further resources that are brought along, when all stand still, as CRIU does. */
function withExternal(carry: CarryOptions, pid: number, hooks: Hooks): CarryOptions {
  const more: string[] = [];
  fire(hooks, { point: 'query-ext-files', pid, addExternal: (key) => void more.push(key) });
  return more.length === 0 ? carry : { ...carry, external: [...carry.external, ...more] };
}

/** Looks for everything that cannot be carried. @throws ObstacleError naming all of it */
export function preflight(pid: HostPid, carry: CarryOptions): void {
  inspectRunning(pid, carry, requireCarriable);
}

function requireCarriable({ root, tasks }: SeenTree, found: readonly StasisError[]): void {
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
