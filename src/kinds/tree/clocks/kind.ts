/**
 * CLOCK_MONOTONIC and CLOCK_BOOTTIME, which must neither go back nor jump because a task did not exist for a while or
 * is on another machine now. As in CRIU, a restored tree gets a time namespace whose offsets make both clocks continue
 * from their values at the dump. Timers are saved by their remaining time, so they are not shifted twice.
 */
import { StasisError } from '../../../base/errors.ts';
import { logDebug } from '../../../base/log.ts';
import { cstring, encodeText } from '../../../base/text.ts';
import type { DumpContext, RestoreContext, RestoreTask, SeenTask, TaskKind } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { imageName } from '../../../images/kind.ts';
import { Images } from '../../../images/kinds.ts';
import { NAMESPACE_IDS } from '../../../images/namespace-ids.ts';
import { AT, O } from '../../../kernel/constants/files.ts';
import { CLONE } from '../../../kernel/constants/tasks.ts';
import { namespaceOf } from '../../../kernel/namespace.ts';
import { arenaPath, describeErrno, Fd, syscall, trySyscall } from '../../../kernel/syscall.ts';
import { type Clocks, clocksOf, eachClock, machineClocks } from '../../../kernel/time-namespace.ts';
import { SEEN_NAMESPACES } from '../../../namespaces/seen.ts';
import { entryOf, offsetLines, readingsOf } from './reading.ts';

function obstacles(task: SeenTask): StasisError[] {
  const own = namespaceOf(task.pid, 'time');
  if (own === namespaceOf(task.pid, 'time_for_children')) return [];
  const reason = 'the children of the process are to have another time namespace than itself';
  return [
    new StasisError({
      kind: 'unsupported',
      code: 'NAMESPACE_TIME_CHILDREN',
      task: task.ref,
      resource: `time namespace ${own}`,
      reason,
    }),
  ];
}

/**
 * The clocks are read when all tasks have been asked what their timers have left: rather fires one a moment late, by
 * these clocks, than too early. All tasks of a tree are in the root's time namespace.
 */
function capture({ tree, images }: DumpContext): void {
  const { pid } = tree.root;
  const namespace = SEEN_NAMESPACES.of(tree).of(pid, 'time');
  const id = !namespace || namespace.ours ? 0 : namespace.id;
  images.write(Images.timens, id, [entryOf(clocksOf(pid))]);
}

const SAVED = new Slot(readClocks);

/** The clocks at the dump; undefined if the images do not hold them, like those of an old CRIU. */
function readClocks({ images, root }: RestoreContext): Clocks | undefined {
  const ours = images.inventory().root_ids?.time_ns_id ?? NAMESPACE_IDS.time_ns_id;
  const theirs = images.readOne(Images.ids, root).time_ns_id ?? ours;
  const id = theirs === ours ? 0 : theirs;
  const [entry] = images.read(Images.timens, id);
  return entry && readingsOf(entry, imageName(Images.timens, id));
}

/** Whether the tree is one process: that need not move before its memory is filled, in which time would pass for it. */
const ALONE = new Slot(({ images }: RestoreContext) => images.read(Images.pstree).length === 1);

/** In a tree with several processes the root enters the namespace before it has children. */
function enterEarly(task: RestoreTask): void {
  if (task.pstree.ppid === 0 && !ALONE.of(task.context)) enter(task);
}

function enterLate(task: RestoreTask): void {
  if (ALONE.of(task.context)) enter(task);
}

/**
 * Has the root move to a time namespace of its own. Only a namespace nobody is in takes offsets, and a process that
 * unshares gets one for its children: it joins these when the offsets are set.
 */
function enter(task: RestoreTask): void {
  const saved = SAVED.of(task.context);
  const stall = saved ? makeNamespace(task, saved) : 'the images do not tell what they were';
  if (stall !== undefined) task.context.notice({ reason: `the clocks leap to those of this machine: ${stall}` });
}

/** Makes the namespace. Returns the reason if that is impossible. */
function makeNamespace(task: RestoreTask, saved: Clocks): string | undefined {
  const unshared = unshare(task);
  if (unshared < 0) return `no time namespace can be made (${describeErrno(unshared)})`;
  const offsets = eachClock(saved, machineClocks(), (then, now) => then - now);
  const written = writeOffsets(task.tracee.pid, offsets);
  join(task, written < 0 ? 'time' : 'time_for_children');
  if (written < 0) return `its offsets cannot be set (${describeErrno(written)})`;
  logDebug(`time namespace: monotonic ${offsets.monotonic} ns, boottime ${offsets.boottime} ns`);
  return undefined;
}

/** Has the task unshare its time namespace. Returns 0 or -errno. */
function unshare({ batch }: RestoreTask): number {
  let result = 0;
  const asked = batch.reserve(1).attempt('unshare', CLONE.NEWTIME);
  batch.after((program) => {
    result = program.result(asked);
  });
  batch.flush();
  return result;
}

function writeOffsets(pid: number, offsets: Clocks): number {
  const path = `/proc/${pid}/timens_offsets`;
  using file = new Fd(syscall('openat', AT.FDCWD, arenaPath(path), O.WRONLY | O.CLOEXEC));
  const lines = encodeText(offsetLines(offsets));
  return trySyscall('write', file.number, lines, lines.length);
}

/** Has the task join one of its own two time namespaces, which then is that of its children as well. */
function join(task: RestoreTask, which: 'time' | 'time_for_children'): void {
  const program = task.batch.reserve(3, 64);
  const path = program.data(cstring(`/proc/self/ns/${which}`));
  const namespace = program.call('openat', AT.FDCWD, path, O.RDONLY | O.CLOEXEC, 0);
  program.call('setns', namespace, CLONE.NEWTIME);
  program.call('close', namespace);
  task.batch.flush();
}

/** The clocks of a tree. */
export const clocks: TaskKind = {
  name: 'clocks',
  obstacles,
  tree: { capture, prepare: (context) => void SAVED.of(context) },
  rebuild: { birth: enterEarly, mapped: enterLate },
};
