/** Reads and checks all images before anything is made. All errors in images are found here. */

import { thisArch } from '../../arch/index.ts';
import type { ErrorCode } from '../../base/error-codes.ts';
import { StasisError } from '../../base/errors.ts';
import { logWarn } from '../../base/log.ts';
import type { IdView } from '../../contract/contract.ts';
import { ImageError } from '../../images/error.ts';
import type { ImageSet } from '../../images/image-set.ts';
import { Images } from '../../images/kinds.ts';
import { IMAGE_VERSION } from '../../images/magic.ts';
import {
  type NamespaceIds,
  type NamespaceName,
  namespaceIdsOf,
  OUR_NAMESPACE_IDS,
} from '../../images/namespace-ids.ts';
import { type OwnProcessState, type OwnThreadState, ownStateName, readOwnState } from '../../images/own-files.ts';
import { PidPlaces } from '../../images/pid-places.ts';
import type { FdinfoEntry, FileEntry, FsEntry } from '../../images/schema/files.ts';
import type { MmEntry } from '../../images/schema/memory.ts';
import { type CoreEntry, type TaskKobjIdsEntry, TaskState } from '../../images/schema/task.ts';
import type { PstreeEntry } from '../../images/schema/tree.ts';
import { NSIG, SIG } from '../../kernel/constants/signals.ts';
import { fileKinds } from '../../kinds/registry.ts';
import { emptyIn } from '../../namespaces/empty.ts';
import { namespaceKinds } from '../../namespaces/registry.ts';
import { savedIds } from '../../namespaces/user/saved.ts';
import { chainOf } from '../../support/page-store.ts';
import { claimsOf } from '../tree-plan/claims.ts';
import { planTree, sparePids, type TreeStep, type TreeTask } from '../tree-plan/plan-tree.ts';
import { checkMemory, checkSegments } from './check-memory.ts';
import { requireUnused } from './free-pids.ts';

/** A thread, read from its images. */
export interface ThreadPlan {
  readonly tid: number;
  readonly core: CoreEntry;
  readonly ownState: OwnThreadState;
}

/** A process that has ended, and has to end again in the same way. */
export type ZombiePlan = Pick<TaskPlan, 'core' | 'ownState'>;

/** A living process. */
export interface TaskPlan extends ThreadPlan {
  readonly ownState: OwnProcessState;
  readonly pstree: PstreeEntry;
  readonly ids: TaskKobjIdsEntry;
  readonly namespaces: NamespaceIds;
  readonly mm: MmEntry;
  readonly fs: FsEntry;
  readonly fds: readonly FdinfoEntry[];
  /** Its threads other than the main thread. */
  readonly others: readonly ThreadPlan[];
}

/** The plan of a restore. */
export interface Plan {
  readonly root: number;
  /** The living processes by PID, parents before their children. */
  readonly tasks: ReadonlyMap<number, TaskPlan>;
  /** The zombies, by PID. */
  readonly zombies: ReadonlyMap<number, ZombiePlan>;
  /** The PID of the parent of each process; 0 for the root. */
  readonly parents: ReadonlyMap<number, number>;
  /** The steps that make the tree. */
  readonly steps: readonly TreeStep[];
  readonly files: ReadonlyMap<number, FileEntry>;
  readonly pages: number;
  /** The namespaces of the process that dumped. A task that was in one of them stays in that of Stasis. */
  readonly ours: NamespaceIds;
  /** Users and groups as the images hold them. */
  readonly ids: IdView;
  /** Whether the tree gets a PID namespace of its own, so that its numbers are free. */
  readonly ownPids: boolean;
  /** The entries of all processes. */
  readonly trees: readonly PstreeEntry[];
  /** Who has which numbers, if the tree is in several PID namespaces. */
  readonly places: PidPlaces | undefined;
  /** Numbers for helpers, which nobody has in any PID namespace of the tree. */
  readonly spares: Iterator<number, undefined>;
}

const CLONE_NAMESPACES = 'the dumped tree had namespaces of its own; these are not restored yet';

/**
 * Reads the image set, and checks that it is complete and that Stasis can restore it. With `joins` the root stays in
 * the session it is born in, and in the process group `bornPgid`. `isUnused` says whether a number is no process's PID,
 * session or group. With `lazily` pages may be brought later, so not all have to be there. With `joinsPids`
 * the tree is restored into a PID namespace that exists.
 * @throws StasisError, ImageError
 */
export function readPlan(
  images: ImageSet,
  origin: {
    readonly joins: boolean;
    readonly bornPgid: number;
    readonly isUnused: (pid: number) => boolean;
    readonly lazily?: boolean;
    readonly joinsPids?: boolean;
  },
): Plan {
  const inventory = images.inventory();
  checkWhole(images);
  if (inventory.img_version > IMAGE_VERSION) {
    throw new ImageError({
      file: 'inventory.img',
      field: 'img_version',
      reason: `version ${inventory.img_version} is newer than the ${IMAGE_VERSION} known here`,
    });
  }
  const ours = namespaceIdsOf(inventory.root_ids ?? {}, undefined);
  const trees = images.read(Images.pstree);
  const root = trees.find(({ ppid }) => ppid === 0);
  if (!root) throw noTree(images);
  checkNumbers(trees);
  const files = readFiles(images);
  const tasks = new Map<number, TaskPlan>();
  const zombies = new Map<number, ZombiePlan>();
  for (const pstree of trees) {
    const core = readCore(images, pstree.pid);
    if (core.tc?.task_state === TaskState.DEAD) {
      const { own: ownState } = loadOwnState(images, pstree.pid, []);
      zombies.set(pstree.pid, { core: requireEnd(core, pstree), ownState });
    } else tasks.set(pstree.pid, readTask(images, pstree, core, inventory.root_ids ? ours : undefined));
  }
  const networks = [...tasks.values()].map(({ namespaces }) => namespaces.net);
  checkSockets(files, new Set([ours.net, ...networks, ...emptyIn(images, 'net')]));
  checkSegments(images);
  let pages = 0;
  for (const task of tasks.values()) {
    checkNamespaces(ours, task.namespaces);
    checkReferences(task, files);
    pages += checkMemory(images, task.pstree.pid, task.mm, origin.lazily ?? false);
  }
  const user = tasks.get(root.pid)?.namespaces.user ?? ours.user;
  const ids = savedIds(images, user, ours.user);
  const ownPids = (origin.joinsPids ?? false) || (tasks.get(root.pid)?.namespaces.pid ?? ours.pid) !== ours.pid;
  const { joins } = origin;
  // Where the tree is alone, all numbers are free, and the group it is born in has none.
  const isUnused = ownPids ? () => true : origin.isUnused;
  const bornPgid = ownPids ? 0 : origin.bornPgid;
  const treeTasks = trees.map((pstree) => treeTask(pstree, tasks.get(pstree.pid)));
  const isTaken = (number: number): boolean => !isUnused(number);
  const places = readPlaces(images, tasks, root.pid);
  const outer = trees.flatMap(({ pid, pgid, sid, threads }) => [pid, pgid, sid, ...threads]);
  const numbers = [...outer, ...[...(places?.inner.values() ?? [])].flatMap((place) => place.numbers)];
  const steps = planTree(treeTasks, { joins, bornPgid, isTaken, sparePids: sparePids(numbers, isUnused), places });
  const tids = [...tasks.values()].flatMap(({ others }) => others.map(({ tid }) => tid));
  if (!ownPids) requireUnused(claimsOf(steps, treeTasks), tids, joins, isUnused);
  const parents = new Map(trees.map(({ pid, ppid }) => [pid, ppid]));
  const planned = steps.flatMap((step) => (step.do === 'fork' ? [step.pid] : []));
  const spares = sparePids([...numbers, ...planned], isUnused);
  return { root: root.pid, tasks, zombies, parents, steps, files, pages, ours, ids, ownPids, trees, places, spares };
}

/** The error for images without processes. */
function noTree(images: ImageSet): ImageError {
  const file = 'pstree.img';
  if (images.inventory().pre_dump_mode === undefined)
    return new ImageError({ file, reason: 'image is missing or empty' });
  const reason = 'is missing: these are the images of a pre-dump, which hold memory only';
  return new ImageError({ file, reason, remedy: 'restore from the images of the dump that followed' });
}

/** Who has which numbers, in a tree of several PID namespaces. @throws StasisError if the images do not tell */
function readPlaces(images: ImageSet, tasks: ReadonlyMap<number, TaskPlan>, root: number): PidPlaces | undefined {
  const places = PidPlaces.read(images);
  const own = tasks.get(root)?.namespaces.pid;
  for (const [pid, { namespaces }] of tasks) {
    const noted = places?.inner.get(pid)?.namespace ?? own;
    if (namespaces.pid === noted && (!places || places.root === own)) continue;
    const reason = 'the images do not tell which numbers it had in its PID namespace';
    throw unsupported('NAMESPACE_PID_NESTED', `task ${pid}`, reason);
  }
  return places;
}

/** Checks that each PID or TID occurs once. Images do not hold the TIDs of zombies. @throws ImageError */
function checkNumbers(trees: readonly PstreeEntry[]): void {
  const bad = (field: string, reason: string): ImageError => new ImageError({ file: 'pstree.img', field, reason });
  const known = new Set<number>();
  for (const { pid } of trees) {
    if (known.has(pid)) throw bad('pid', `${pid} is there twice`);
    known.add(pid);
  }
  for (const { pid, threads } of trees) {
    if (!threads.includes(pid)) continue; // a zombie, for which CRIU writes arbitrary values
    for (const tid of threads) {
      if (tid === pid) continue;
      if (tid <= 0 || tid > MOST_PID) throw bad('threads', `impossible number ${tid}`);
      if (known.has(tid)) throw bad('threads', `${tid} is there twice`);
      known.add(tid);
    }
  }
}

/** PID_MAX_LIMIT of 64-bit kernels. */
const MOST_PID = 1 << 22;

/** Signals whose default action does not end a process. */
const HARMLESS: readonly number[] = [SIG.CHLD, SIG.CONT, SIG.STOP, SIG.TSTP, SIG.TTIN, SIG.TTOU, SIG.URG, SIG.WINCH];

/** Checks the exit code of a zombie. @throws ImageError */
function requireEnd(core: CoreEntry, { pid, ppid }: PstreeEntry): CoreEntry {
  const file = `core-${pid}.img`;
  if (ppid === 0) throw new ImageError({ file, field: 'task_state', reason: 'the root of the tree is dead' });
  const signal = (core.tc?.exit_code ?? 0) & 0x7f;
  if (signal <= NSIG && !HARMLESS.includes(signal)) return core;
  throw new ImageError({ file, field: 'exit_code', reason: `no process ends by signal ${signal}` });
}

/** Reads a living process; `ours` are the namespaces of the process that dumped, undefined if the images lack them. */
function readTask(images: ImageSet, pstree: PstreeEntry, core: CoreEntry, ours: NamespaceIds | undefined): TaskPlan {
  const { pid } = pstree;
  const ids = images.readOne(Images.ids, pid);
  const others = pstree.threads.filter((tid) => tid !== pid);
  if (new Set(others).size !== others.length) {
    throw new ImageError({ file: 'pstree.img', field: 'threads', reason: `a thread of task ${pid} is there twice` });
  }
  const ownState = loadOwnState(images, pid, others);
  return {
    tid: pid,
    pstree,
    ids,
    namespaces: ours ? namespaceIdsOf(ids, ours) : OUR_NAMESPACE_IDS,
    core: requireState(core, pid),
    mm: images.readOne(Images.mm, pid),
    fs: images.readOne(Images.fs, pid),
    fds: images.read(Images.fdinfo, ids.files_id),
    ownState: ownState.own,
    others: others.map((tid) => ({
      tid,
      core: readThreadCore(images, tid),
      ownState: ownState.threads.get(tid) ?? {},
    })),
  };
}

/** A task in the form of the tree planner. */
function treeTask({ pid, ppid, pgid, sid }: PstreeEntry, task: TaskPlan | undefined): TreeTask {
  const zombie = task === undefined;
  const subreaper = task?.core.tc?.child_subreaper ?? false;
  if (!task) return { pid, ppid, pgid, sid, zombie, subreaper };
  const { vm_id, files_id, fs_id, sighand_id } = task.ids;
  const shared = { vm: vm_id, files: files_id, fs: fs_id, sighand: sighand_id };
  return { pid, ppid, pgid, sid, zombie, subreaper, shared, terminal: sid === pid };
}

/** Checks that every file of the set and of its parents is as the dump wrote it, if there is a manifest. */
function checkWhole(images: ImageSet): void {
  for (const set of chainOf(images)) {
    if (set.wholeness() === 'stale') {
      logWarn('plan.ts', `${set.dir}/stasis-*: of an earlier dump than the images; ignored, damage may go unnoticed`);
    }
  }
}

function unsupported(code: ErrorCode, resource: string, reason: string): StasisError {
  return new StasisError({ kind: 'unsupported', code, resource, reason });
}

/** Checks that all sockets are of network namespaces that are made. */
function checkSockets(files: ReadonlyMap<number, FileEntry>, networks: ReadonlySet<number>): void {
  for (const { id, isk, usk, nlsk, psk } of files.values()) {
    const of = (isk ?? usk ?? nlsk ?? psk)?.ns_id;
    if (!of || networks.has(of)) continue;
    const reason = `a socket of network namespace ${of}, which is not in the images`;
    throw unsupported('SOCKET_OTHER_NAMESPACE', `file ${id}`, reason);
  }
}

/** Checks that there is a kind for each namespace that is to be made. Time namespaces are made by the kind `clocks`. */
function checkNamespaces(ours: NamespaceIds, ids: NamespaceIds): void {
  const names = Object.keys(ours) as NamespaceName[];
  const foreign = names.filter((name) => ids[name] !== ours[name] && name !== 'time');
  const unknown = foreign.filter((name) => !namespaceKinds.some((kind) => kind.name === name));
  if (unknown.length > 0) throw unsupported('NAMESPACE_OWN', unknown.join(', '), CLONE_NAMESPACES);
}

function readCore(images: ImageSet, pid: number): CoreEntry {
  const file = `core-${pid}.img`;
  const core = images.readOne(Images.core, pid);
  if (!core.tc) throw new ImageError({ file, reason: 'the state of the task is missing' });
  const state = core.tc.task_state;
  if (state === TaskState.ALIVE || state === TaskState.STOPPED || state === TaskState.DEAD) return core;
  throw unsupported('IMAGE_TASK_STATE', file, `task state ${state} is not known`);
}

function readThreadCore(images: ImageSet, tid: number): CoreEntry {
  return requireState(images.readOne(Images.core, tid), tid);
}

/** Checks that a living thread has all required parts. @throws ImageError */
function requireState(core: CoreEntry, tid: number): CoreEntry {
  const file = `core-${tid}.img`;
  if (!core[thisArch().coreField])
    throw unsupported('ARCHITECTURE', file, 'the process was saved on another processor architecture');
  if (!core.thread_core) throw new ImageError({ file, reason: 'the state of the thread is missing' });
  return core;
}

function readFiles(images: ImageSet): Map<number, FileEntry> {
  const files = new Map<number, FileEntry>();
  for (const entry of images.read(Images.files)) {
    const before = files.get(entry.id);
    files.set(entry.id, before ? withPath(entry, before) : entry);
  }
  return files;
}

/** A file of /dev/net/tun and its path are two entries with one ID. @throws ImageError for any others */
function withPath(one: FileEntry, other: FileEntry): FileEntry {
  const file = one.tunf ? one : other;
  const path = one.tunf ? other : one;
  if (file.tunf && !file.reg && path.reg && !path.tunf) return { ...file, reg: path.reg };
  throw new ImageError({ file: 'files.img', reason: `two files have the id ${one.id}` });
}

/** Checks that all referenced files exist and are of a kind that can be rebuilt. */
function checkReferences(task: TaskPlan, files: ReadonlyMap<number, FileEntry>): void {
  const need = (id: number, file: string, field: string): void => {
    const entry = files.get(id);
    if (!entry) throw new ImageError({ file, field, reason: `there is no file with the id ${id} in files.img` });
    if (!fileKinds.some((kind) => kind.type === entry.type)) {
      throw unsupported('IMAGE_FILE_TYPE', `file ${id}`, `open files of type ${entry.type} are not restored yet`);
    }
  };
  const numbers = new Set<number>();
  for (const { fd, id } of task.fds) {
    need(id, `fdinfo-${task.ids.files_id}.img`, 'id');
    if (fd >= MAX_FD || numbers.has(fd)) {
      throw new ImageError({ file: `fdinfo-${task.ids.files_id}.img`, field: 'fd', reason: `impossible number ${fd}` });
    }
    numbers.add(fd);
  }
  need(task.mm.exe_file_id, `mm-${task.pstree.pid}.img`, 'exe_file_id');
  need(task.fs.cwd_id, `fs-${task.pstree.pid}.img`, 'cwd_id');
  need(task.fs.root_id, `fs-${task.pstree.pid}.img`, 'root_id');
}

/** Far above the limits of real systems (fs.nr_open is 2^20 by default). */
const MAX_FD = 1 << 26;

/** Reads the `ownState` of a process; empty for a set that `criu` wrote. */
function loadOwnState(images: ImageSet, pid: number, tids: readonly number[]): ReturnType<typeof readOwnState> {
  const bytes = images.own(ownStateName(pid));
  return bytes ? readOwnState(bytes, pid, tids) : { own: {}, threads: new Map() };
}
