/** Time namespaces at a restore: each is made with offsets that have its clocks go on from what they were. */
import { logDebug } from '../../../base/log.ts';
import { encodeText } from '../../../base/text.ts';
import type { RestoreContext, RestoreTask } from '../../../contract/contract.ts';
import { KeyedSlot, Slot } from '../../../contract/slots.ts';
import { imageName } from '../../../images/kind.ts';
import { Images } from '../../../images/kinds.ts';
import { O } from '../../../kernel/constants/files.ts';
import { CLONE } from '../../../kernel/constants/tasks.ts';
import { openFile, tryWrite } from '../../../kernel/files.ts';
import { namespaceOf } from '../../../kernel/namespace.ts';
import { statusOf } from '../../../kernel/statx.ts';
import { describeErrno, type Fd } from '../../../kernel/syscall.ts';
import { type Clocks, eachClock, machineClocks } from '../../../kernel/time-namespace.ts';
import { enterNamespace } from '../../../namespaces/enter.ts';
import { openNamespace } from '../../../namespaces/inside.ts';
import { MADE_NAMESPACES, SAVED_IDS, wasOurs } from '../../../namespaces/made.ts';
import { offsetLines, readingsOf } from './reading.ts';

/** The clocks of a namespace at the dump; undefined if the images do not hold them, like those of an old CRIU. */
const SAVED = new KeyedSlot((context: RestoreContext, id: number): Clocks | undefined => {
  const file = wasOurs(context, 'time', id) ? 0 : id;
  const [entry] = context.images.read(Images.timens, file);
  return entry && readingsOf(entry, imageName(Images.timens, file));
});

/** Reads the clocks of the root, so that an image that cannot be used is an error before any process is made. */
export function readSaved(context: RestoreContext): void {
  SAVED.of(context, SAVED_IDS.of(context, context.root).time);
}

/** Whether the tree is one process. */
const ALONE = new Slot(({ images }: RestoreContext) => images.read(Images.pstree).length === 1);

/** The moment that all namespaces refer to, so that they are apart as they were. */
const NOW = new Slot((_: RestoreContext) => machineClocks());

/**
 * A task enters its time namespace before it has children, which then are born there. A process that is alone need not
 * move before its memory is filled, in which time would pass for it.
 */
export function enterEarly(task: RestoreTask): void {
  if (ALONE.of(task.context)) return;
  enter(task);
  if (canPrepareChildren(task)) prepareChildren(task);
}

/** As {@link enterEarly}, for a process that is alone. */
export function enterLate(task: RestoreTask): void {
  if (ALONE.of(task.context)) enter(task);
}

/** The namespaces that could not be made, of which the user was told. */
const FAILED = new Slot((_: RestoreContext) => new Set<number>());

/** Has a task move to its namespace, unless it was born there. The first member of a namespace makes it. */
function enter(task: RestoreTask): void {
  const { context } = task;
  const id = SAVED_IDS.of(context, task.pid).time;
  if (FAILED.of(context).has(id)) return;
  const made = MADE_NAMESPACES.of(context).get('time', id);
  if (!made) make(task, id);
  else if (statusOf(made.fd).ino !== namespaceOf(task.tracee.pid, 'time')) enterNamespace(task, CLONE.NEWTIME, made.fd);
}

/** Makes a namespace, and has the task enter it. If that is impossible, the clocks leap. */
function make(task: RestoreTask, id: number): void {
  const namespace = makeForChildren(task, id);
  if (typeof namespace === 'string') {
    FAILED.of(task.context).add(id);
    task.context.notice({ reason: `the clocks leap to those of this machine: ${namespace}` });
    return;
  }
  enterNamespace(task, CLONE.NEWTIME, namespace.number);
  keep(task, id, namespace);
}

/** Enters a namespace in the table, which closes its descriptor at the end. */
function keep(task: RestoreTask, id: number, namespace: Fd): void {
  MADE_NAMESPACES.of(task.context).add({ name: 'time', id, fd: namespace.release(), first: task });
}

/** A process that makes a time namespace. */
type Maker = Pick<RestoreTask, 'context' | 'seed' | 'batch' | 'tracee'>;

/**
 * Has a task unshare its time namespace. Only a namespace nobody is in takes offsets, and a process that unshares gets
 * one for its children. Returns it, or why there is none; then the task is as it was before.
 */
export function makeForChildren(task: Maker, id: number): Fd | string {
  const { context, tracee } = task;
  const saved = SAVED.of(context, id);
  if (!saved) return 'the images do not tell what they were';
  using before = openNamespace(tracee.pid, 'time');
  const unshared = unshare(task);
  if (unshared < 0) return `no time namespace can be made (${describeErrno(unshared)})`;
  const offsets = eachClock(saved, NOW.of(context), (then, now) => then - now);
  const written = writeOffsets(tracee.pid, offsets);
  if (written < 0) {
    enterNamespace(task, CLONE.NEWTIME, before.number);
    return `its offsets cannot be set (${describeErrno(written)})`;
  }
  logDebug(`time namespace ${id}: monotonic ${offsets.monotonic} ns, boottime ${offsets.boottime} ns`);
  return openNamespace(tracee.pid, 'time_for_children');
}

/** Has the task unshare its time namespace. Returns 0 or -errno. */
function unshare({ batch }: Maker): number {
  let result = 0;
  const asked = batch.reserve(1).attempt('unshare', CLONE.NEWTIME);
  batch.after((program) => {
    result = program.result(asked);
  });
  batch.flush();
  return result;
}

function writeOffsets(pid: number, offsets: Clocks): number {
  using file = openFile(`/proc/${pid}/timens_offsets`, O.WRONLY);
  return tryWrite(file.number, encodeText(offsetLines(offsets)));
}

/**
 * Whether the namespace for the children of a task can be made before it has children, so that those who are to be in
 * it are born there. The kernel makes no thread, and no process that shares memory, for a task whose children are to
 * have another time namespace than itself (copy_process()).
 */
function canPrepareChildren({ pstree, context }: RestoreTask): boolean {
  if (pstree.threads.length > 1) return false;
  return !SHARED_MEMORY.of(context).has(pstree.pid);
}

/** The tasks that share memory with others. */
const SHARED_MEMORY = new Slot(({ images }: RestoreContext): ReadonlySet<number> => {
  const pids = images.read(Images.pstree).map(({ pid }) => pid);
  const ids = new Map(pids.map((pid) => [pid, images.read(Images.ids, pid)[0]?.vm_id]));
  const count = new Map<number | undefined, number>();
  for (const id of ids.values()) count.set(id, (count.get(id) ?? 0) + 1);
  return new Set(pids.filter((pid) => (count.get(ids.get(pid)) ?? 0) > 1));
});

/**
 * Makes the namespace that the children of a task are to be born into, if that is another than its own. Nobody can be
 * given one that exists without being in it. So if somebody else has made it, the task gets one with the same clocks.
 */
function prepareChildren(task: RestoreTask): void {
  const id = task.ownState.timeForChildren;
  if (id === undefined || FAILED.of(task.context).has(id)) return;
  const namespace = makeForChildren(task, id);
  if (typeof namespace === 'string') {
    task.context.notice({ task: task.ref, reason: `its children will have its own clocks: ${namespace}` });
  } else if (MADE_NAMESPACES.of(task.context).get('time', id)) namespace[Symbol.dispose]();
  else keep(task, id, namespace);
}

/** As {@link prepareChildren}, when all processes and threads exist. */
export function prepareChildrenLate(task: RestoreTask): void {
  const early = !ALONE.of(task.context) && canPrepareChildren(task);
  if (!early) prepareChildren(task);
}
