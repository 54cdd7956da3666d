import { addTo } from '../../base/lists.ts';
import { logDebug, logInfo } from '../../base/log.ts';
import { Part } from '../../base/part.ts';
import { UndoStack } from '../../base/undo.ts';
import type {
  CarryOptions,
  NamespaceKind,
  Phase,
  RestoreContext,
  RestoreEnd,
  RestoreTask,
  TreePhase,
} from '../../contract/contract.ts';
import { ImageSet } from '../../images/image-set.ts';
import { FileOwner } from '../../kernel/act-as.ts';
import { PR } from '../../kernel/constants/prctl.ts';
import { disk } from '../../kernel/disk.ts';
import { requirePageSize } from '../../kernel/page-size.ts';
import { isUnused } from '../../kernel/proc/holders.ts';
import { arenaAddress, arenaView, syscall, trySyscall } from '../../kernel/syscall.ts';
import { treeDoors } from '../../kinds/registry.ts';
import type { PreparedMemory } from '../../memory/prepared.ts';
import { hasEmptyNamespaces } from '../../namespaces/empty.ts';
import { NetworkStay } from '../../namespaces/inside.ts';
import { MADE_NAMESPACES } from '../../namespaces/made.ts';
import { namespaceKinds } from '../../namespaces/registry.ts';
import { FILE_OWNER } from '../../namespaces/user/inside.ts';
import { settleOwners } from '../../support/fown.ts';
import { reportUnasked, requireInherited } from '../../support/inherited.ts';
import { writePidfile } from '../../support/pidfile.ts';
import { pointOfNoReturn, requireUninterrupted, withOutcome } from '../../tracee/interruption.ts';
import { type ArchiveOptions, readArchive } from '../archive.ts';
import { fire, type Hooks } from '../hooks.ts';
import type { RestoreOutcome } from '../outcome.ts';
import { writeRestoreStats } from '../stats.ts';
import { stopSignalOf } from '../stops.ts';
import { TreeLife } from '../tree-life.ts';
import { TreeBuilder } from './build-tree.ts';
import { Context } from './context.ts';
import { forgetChildSignal } from './deaths.ts';
import { finishDescriptors, placeDescriptors } from './descriptors.ts';
import { HostPids } from './host-pids.ts';
import { addThreads, rebuildThread } from './make-task.ts';
import {
  finishNamespaces,
  makeNetworks,
  makeUserNamespaces,
  setPidsForChildren,
  takeGivenNamespaces,
} from './namespaces.ts';
import { addPhase, beginPhase, runPhase } from './phases.ts';
import { type Plan, readPlan } from './plan.ts';
import { resume, stopTask } from './resume.ts';

type Verifying = typeof import('../../memory/verify-pages.ts');
const VERIFYING = new Part(() => require('../../memory/verify-pages.ts') as Verifying);

const LAZY = new Part(() => require('../../memory/lazy/client.ts') as typeof import('../../memory/lazy/client.ts'));
const DEDUP = new Part(() => require('../dedup.ts') as typeof import('../dedup.ts'));
const EMPTY = new Part(() => require('./empty-namespaces.ts') as typeof import('./empty-namespaces.ts'));

/** The options of a restore. */
export interface RestoreOptions {
  readonly imagesDir: string;
  readonly workDir: string;
  readonly pidfile: string | undefined;
  /** Make the root a child of our parent (`--restore-sibling`). */
  readonly sibling: boolean;
  /** The process that Stasis runs in ends when the restore is done, and leaves the tree to itself (`-d`). */
  readonly detached: boolean;
  /** Compare page contents with their checksums first (`--verify`). */
  readonly verify: boolean;
  readonly leaveStopped: boolean;
  /** The archive of the images, if they are not in the images directory. */
  readonly from: ArchiveOptions | undefined;
  readonly writesStats: boolean;
  /** Have a lazy-pages daemon, which listens in the work directory, bring pages when they are needed. */
  readonly lazyPages: boolean;
  /** Free page contents in the images when the tasks run (`--auto-dedup`). */
  readonly autoDedup: boolean;
  /** The root, with memory that is there already. */
  readonly prepared?: PreparedMemory | undefined;
  readonly carry: CarryOptions;
}

/**
 * Restores a process tree, all or nothing: until the last step all tasks are stopped, and are killed if Stasis dies or
 * an error occurs.
 * @throws StasisError
 * @throws InterruptedError when a signal asks Stasis to end before the tasks run
 */
export function restore(options: RestoreOptions, hooks: Hooks = {}): RestoreOutcome {
  requirePageSize();
  try {
    return restoreTree(options, hooks);
  } catch (error) {
    throw withOutcome(error, 'nothing was restored');
  }
}

function restoreTree(options: RestoreOptions, hooks: Hooks): RestoreOutcome {
  hooks.progress?.({ step: 'reading', done: 0, total: 0 });
  using archive = options.from && readArchive(options.from, options.imagesDir);
  const images = new ImageSet(options.imagesDir, undefined, archive?.disk ?? disk);
  const { shellJob: joins, joinNamespaces } = options.carry;
  const joinsPids = joinNamespaces.some(({ type }) => type === 'pid');
  const isFree = (pid: number): boolean => pid === options.prepared?.pid || isUnused(pid);
  const origin = { joins, bornPgid: syscall('getpgid', 0), isUnused: isFree, lazily: options.lazyPages, joinsPids };
  const plan = readPlan(images, origin);
  using prepared = fitting(options.prepared, plan);
  requireInherited(options.carry);
  const unverified = options.verify ? VERIFYING.load().verifyPages(images) : undefined;
  logDebug('images are read and checked');
  using lazy = options.lazyPages ? new (LAZY.load().LazyPagesClient)(options.workDir) : undefined;
  // Makes Stasis a subreaper, so that it can reap all processes of the tree if the restore fails.
  using _ = new Subreaper();
  // Left when everything in it has ended.
  using stay = new NetworkStay();
  // Undone last, when none of the tasks is left.
  using life = new TreeLife<RestoreContext, RestoreEnd>(
    treeDoors.map((doors) => (of, how) => doors.restoreEnd?.(of, how)),
    'failed',
  );
  using undo = new UndoStack();
  using ending = new UndoStack();
  const hosts = new HostPids(plan.ownPids, plan.trees);
  const context = new Context(options, images, plan, hosts, undo, ending, hooks, lazy, prepared);
  if (unverified) context.notice({ resource: '--verify', reason: `${unverified}, so page contents are not verified` });
  life.begin(context);
  takeGivenNamespaces(context, plan, stay);
  for (const doors of treeDoors) doors.begin?.(context);
  fire(hooks, { point: 'pre-restore' });
  hooks.progress?.({ step: 'making', done: 0, total: plan.tasks.size });
  const began = performance.now();
  makeNetworks(context, plan, stay, undefined);
  const builder = new TreeBuilder(plan, context, hosts, undo, prepared);
  builder.begin(options.sibling);
  makeUserNamespaces(context, plan, stay);
  const files = FILE_OWNER.of(context);
  if (files) {
    // File systems of a user namespace take no files of users that it does not know.
    const owner = new FileOwner(files);
    context.atEnd(() => owner[Symbol.dispose]());
  }
  for (const doors of treeDoors) doors.prepare?.(context);
  if (hasEmptyNamespaces(context)) EMPTY.load().makeEmptyNamespaces(context);
  builder.build(options.sibling);
  const forked = performance.now();
  const { tasks } = builder;
  // The number that whoever has started us knows the root by.
  const pid = hosts.of(plan.root) ?? plan.root;
  if (hasOwnNamespaces(plan)) {
    fire(hooks, { point: 'setup-namespaces', pid });
    fire(hooks, { point: 'post-setup-namespaces', pid });
  }
  rebuilt(context, 'memory');
  if (hasEmptyNamespaces(context) || MADE_NAMESPACES.of(context).all.some(({ name }) => name === 'mnt'))
    EMPTY.load().completeNamespaces(context);
  hooks.progress?.({ step: 'rebuilding', done: 0, total: tasks.length });
  const stopped = rebuild(tasks, plan, context, () => lazy?.settle(plan.parents.keys(), runOf(images)));
  rebuilt(context, 'last');
  finishNamespaces(context);
  reportUnasked(context);
  logInfo(tasks.length === 1 ? 'the task is rebuilt' : `${tasks.length} tasks are rebuilt`);
  ending[Symbol.dispose]();
  const { pidfile } = options;
  if (pidfile !== undefined) {
    writePidfile(pidfile, pid);
    undo.add(() => disk.unlink(pidfile));
  }
  fire(hooks, { point: 'post-restore', pid });
  if (isApart(plan, 'net')) fire(hooks, { point: 'network-unlock', pid });
  const microseconds = (until: number): number => (until - began) * 1000;
  const figures = { forking: microseconds(forked), restore: microseconds(performance.now()), pages: plan.pages };
  if (options.writesStats) writeRestoreStats(options.workDir, figures, context.notices);
  fire(hooks, { point: 'pre-resume', pid });
  pointOfNoReturn();
  lazy?.finish();
  life.end('restored');
  resume(tasks, stopped, options);
  undo.keep();
  logInfo(tasks.length === 1 ? 'the task runs' : 'the tasks run');
  fire(hooks, { point: 'post-resume', pid });
  const unfreed = options.autoDedup ? DEDUP.load().dedupRestored(images) : undefined;
  if (unfreed) context.notice(unfreed);
  return { pid, figures, notices: context.notices.list };
}

/** What was prepared, if the root can be that; else it ends, and its PID is free. */
function fitting(prepared: PreparedMemory | undefined, plan: Plan): PreparedMemory | undefined {
  if (!prepared) return undefined;
  const tasks = [...plan.tasks.values()];
  const root = plan.tasks.get(plan.root);
  const isPlain = !plan.ownPids && root?.namespaces.user === plan.ours.user && prepared.pid === plan.root;
  if (isPlain && prepared.fits(tasks, fdsOf(tasks))) return prepared;
  logDebug('the memory that was prepared is of no use: the tree has changed');
  prepared[Symbol.dispose]();
  return undefined;
}

function* fdsOf(tasks: readonly { readonly fds: readonly { readonly fd: number }[] }[]): Generator<number> {
  for (const { fds } of tasks) for (const { fd } of fds) yield fd;
}

/** The dump that images are of. */
function runOf(images: ImageSet): string | undefined {
  return images.inventory().dump_criu_run_id;
}

/**
 * Rebuilds everything but memory; `mapped` is called when that is finished. All tasks finish a phase before any enters
 * the next. Returns the tasks that are in a group stop already.
 */
function rebuild(
  tasks: readonly RestoreTask[],
  plan: Plan,
  context: Context,
  mapped: () => void,
): ReadonlySet<RestoreTask> {
  const sharing = memorySharers(tasks, plan);
  sideBySide(
    tasks.filter(({ shares }) => !shares.vm),
    'mapped',
    sharing,
  );
  rebuilt(context, 'mapped');
  mapped();
  const filesId = (task: RestoreTask): number | undefined => plan.tasks.get(task.pid)?.ids.files_id;
  const sharers = new Map<number | undefined, RestoreTask[]>();
  for (const task of tasks) addTo(sharers, filesId(task), task);
  addFiles(tasks);
  // Threads are made before descriptors, which may refer to them (pidfd) or signal them (F_SETOWN).
  for (const task of tasks) addThreads(task, plan.tasks.get(task.pid)?.others ?? [], context.hosts, plan.places);
  const tables = tasks.filter(({ shares }) => !shares.files);
  for (const task of tables) placeDescriptors(task);
  finishDescriptors(tables, (task) => sharers.get(filesId(task)) ?? [], context.carried);
  settleOwners(context);
  if (plan.places) for (const task of tasks) setPidsForChildren(task, plan.places);
  for (const task of tables) task.batch.call('close', task.seed.socketTarget);
  sideBySide(tasks, 'state', sharing);
  rebuildThreads(tasks, sharing);
  rebuilt(context, 'state');
  sideBySide(tasks, 'creds', sharing);
  rebuilt(context, 'creds');
  return finish(tasks, sharing);
}

/** Rebuilds all threads but the main ones. */
function rebuildThreads(tasks: readonly RestoreTask[], sharing: ReadonlySet<RestoreTask>): void {
  for (const task of tasks) {
    for (const thread of task.threads.slice(1)) rebuildThread(thread);
    if (sharing.has(task)) task.batch.flush();
  }
  for (const { batch } of tasks) batch.flush();
}

/** Whether the root of the tree is in namespaces that were made for it; those of time are made of no such hook. */
function hasOwnNamespaces(plan: Plan): boolean {
  return namespaceKinds.some(({ name }) => isApart(plan, name));
}

function isApart({ root, tasks, ours }: Plan, name: NamespaceKind['name']): boolean {
  const ids = tasks.get(root)?.namespaces;
  return ids !== undefined && ids[name] !== ours[name];
}

/** Calls the tree doors for a phase that all tasks have finished. */
function rebuilt(context: RestoreContext, name: TreePhase): void {
  for (const doors of treeDoors) doors.rebuilt?.[name]?.(context);
}

/** The tasks that share memory with another task. */
function memorySharers(tasks: readonly RestoreTask[], plan: Plan): ReadonlySet<RestoreTask> {
  const idOf = (task: RestoreTask): number | undefined => plan.tasks.get(task.pid)?.ids.vm_id;
  const shared = new Set(tasks.filter(({ shares }) => shares.vm).map(idOf));
  return new Set(tasks.filter((task) => shared.has(idOf(task))));
}

/**
 * Phase `last`. The kernel tells parents when their children stop. So tasks that are to be stopped are stopped,
 * children first, before their parents get the signals that were pending.
 */
function finish(tasks: readonly RestoreTask[], sharing: ReadonlySet<RestoreTask>): ReadonlySet<RestoreTask> {
  const early = tasks.filter((task) => stopSignalOf(task) && !sharing.has(task));
  const parents = new Set(early.map(({ pstree: tree }) => tree.ppid));
  const forget = (task: RestoreTask): void => {
    if (parents.has(task.pid)) forgetChildSignal(task.batch);
  };
  for (const task of early.toReversed()) {
    forget(task);
    runPhase(task, 'last');
    stopTask(task);
  }
  const stopped = new Set(early);
  const others = tasks.filter((task) => !stopped.has(task));
  for (const task of others) forget(task);
  sideBySide(others, 'last', sharing);
  return stopped;
}

/**
 * Phase `files`, whose last calls run with the arrival of the descriptors. But tasks that are not alone finish it: it
 * ends with closing all descriptors that it needed.
 */
function addFiles(tasks: readonly RestoreTask[]): void {
  requireUninterrupted();
  for (const task of tasks) {
    if (task.isAlone) addPhase(task, 'files');
    else runPhase(task, 'files');
  }
  logDebug('phase files');
}

/**
 * Runs a phase. The tasks run their last programs at the same time, except those that share memory and with it the work
 * area. Descriptors are handed over to one after the other, since all tasks of a tree read from one socket.
 */
function sideBySide(tasks: readonly RestoreTask[], name: Phase, sharing: ReadonlySet<RestoreTask>): void {
  requireUninterrupted();
  for (const task of tasks) {
    if (sharing.has(task)) runPhase(task, name);
    else beginPhase(task, name);
  }
  for (const { batch } of tasks) batch.flush();
  logDebug(`phase ${name}`);
}

/** Makes Stasis a subreaper until the scope ends: orphaned descendants become its children. */
class Subreaper implements Disposable {
  readonly #before: number;

  constructor() {
    syscall('prctl', PR.GET_CHILD_SUBREAPER, arenaAddress, 0, 0, 0);
    this.#before = arenaView.getInt32(0, true);
    trySyscall('prctl', PR.SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  }

  [Symbol.dispose](): void {
    trySyscall('prctl', PR.SET_CHILD_SUBREAPER, this.#before, 0, 0, 0);
  }
}
