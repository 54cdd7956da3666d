/** The address space of a task: its mappings, the pages to store, and its layout. */

import { type HostPid, hostPid } from '../../../base/brands.ts';
import type { ErrorCode } from '../../../base/error-codes.ts';
import { StasisError } from '../../../base/errors.ts';
import { Part } from '../../../base/part.ts';
import type { DumpContext, DumpTask, Json, PageRange, SeenTask, TaskKind } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { FdTypes } from '../../../images/schema/files.ts';
import { VmaStatus } from '../../../images/schema/memory.ts';
import { O } from '../../../kernel/constants/files.ts';
import { auxvWords } from '../../../kernel/proc/auxv.ts';
import { readProc } from '../../../kernel/proc/read.ts';
import { mapFile, type ProcVma } from '../../../kernel/proc/smaps.ts';
import { vmaName } from '../../../kernel/proc/vmaname.ts';
import { EarlierTasks } from '../../../memory/earlier-tasks.ts';
import { lazyRanges, toStore, withoutParent } from '../../../memory/own-pages.ts';
import { without } from '../../../memory/plan/ranges.ts';
import { encodeSharedPages } from '../../../memory/plan/shared-pages.ts';
import { captureKeys } from '../../../memory/protection-keys.ts';
import { scanGuards, scanOwnPages } from '../../../memory/scan.ts';
import {
  aioEntry,
  anonymousEntry,
  fileEntryOf,
  isAioRing,
  isAnonymous,
  isSysv,
  isVvar,
  mergeVvar,
  openFlags,
  socketEntryOf,
  sysvEntry,
  type VmaDraft,
} from '../../../memory/vma.ts';
import { SEEN_NAMESPACES } from '../../../namespaces/seen.ts';
import { mappedPacketSocket } from '../../../support/packet-rings.ts';
import { mapsRing, ringOf } from '../../../support/ring-notes.ts';
import type { Program } from '../../../tracee/program.ts';

const KEEPING = new Part(
  () => require('../../../memory/tracking/keeper.ts') as typeof import('../../../memory/tracking/keeper.ts'),
);
const REBUILDING = new Part(() => require('./rebuild.ts') as typeof import('./rebuild.ts'));

interface Why {
  readonly code: ErrorCode;
  readonly reason: string;
  readonly remedy?: string;
}

/** Why a mapping cannot be carried, and the remedy; undefined if it can. */
function whyNot(vma: ProcVma, isKept: () => boolean): Why | undefined {
  const flags = vma.vmFlags;
  const name = vmaName(vma.name);
  if (flags?.has('um') || flags?.has('ui') || (flags?.has('uw') && !isKept()))
    return { code: 'MEMORY_USERFAULTFD', reason: 'it is watched by a userfaultfd' };
  if (flags?.has('ss')) return { code: 'MEMORY_SHADOW_STACK', reason: 'shadow stacks are not carried yet' };
  switch (name.kind) {
    case 'uprobes':
      return { code: 'MEMORY_UPROBES', reason: 'it belongs to uprobes' };
    case 'anonInode':
      return { code: 'MEMORY_MAPPING', reason: `no kind of Stasis carries a mapping of ${vma.name}` };
    case 'pseudo':
      return { code: 'MEMORY_MAPPING', reason: `no kind of Stasis carries a mapping of ${vma.name}` };
    default:
      break;
  }
  const device = flags?.has('io') || flags?.has('pf');
  return device && !isVvar(vma.name) ? { code: 'MEMORY_DEVICE', reason: 'device memory cannot be carried' } : undefined;
}

const IO_URING: Why = {
  code: 'MEMORY_IO_URING',
  reason: 'it is a ring of io_uring for which no process has a descriptor any more, so that it cannot be examined',
  remedy:
    'start the program without it (as with UV_USE_IO_URING=0 for Node), or set kernel.io_uring_disabled to 2 before',
};

/** A ring that a process has open is the matter of its kind. */
function ringWhyNot(vma: ProcVma, task: SeenTask): Why | undefined {
  return ringOf(vma, task.tree) ? undefined : IO_URING;
}

function obstacles(task: SeenTask): StasisError[] {
  // Stasis itself watches it from one dump to the next.
  const isKept = (): boolean => KEEPING.load().isKept(task.tree, task.pid, task.stat.starttime);
  return task.vmas.flatMap((vma) => {
    if (mappedPacketSocket(vma, task.tree)) return [];
    const why = mapsRing(vma) ? ringWhyNot(vma, task) : whyNot(vma, isKept);
    if (!why) return [];
    const resource = `mapping ${hex(vma.start)}-${hex(vma.end)} ${vma.name}`.trim();
    return [new StasisError({ kind: 'unsupported', task: task.ref, resource, ...why })];
  });
}

const hex = (address: number): string => address.toString(16);

function vmaEntries(task: DumpTask): VmaDraft[] {
  const entries = task.vmas.map((vma) => {
    if (isAnonymous(vma)) return anonymousEntry(vma);
    if (isAioRing(vma)) return aioEntry(vma);
    const flags = openFlags(vma);
    const ring = mapsRing(vma) ? ringOf(vma, task.tree) : undefined;
    if (ring) return fileEntryOf(vma, task.context.openFiles.idOf(ring), flags, false);
    if (isSysv(vma)) return sysvEntry(vma, flags);
    const socket = mappedPacketSocket(vma, task.tree);
    if (socket) return socketEntryOf(vma, task.context.openFiles.idOf(socket));
    const id = idOfMapped(task, vma, flags);
    return fileEntryOf(vma, id, flags, task.context.openFiles.typeOf(id) === FdTypes.MEMFD);
  });
  return mergeVvar(entries);
}

/** The IDs of mapped files, by what /proc shows of them: nearly all mappings of a tree are of the same few files. */
const MAPPED = new Slot((_: DumpContext) => new Map<string, number>());

function idOfMapped(task: DumpTask, vma: ProcVma, flags: number): number {
  const known = MAPPED.of(task.context);
  const mounts = SEEN_NAMESPACES.of(task.tree).of(task.pid, 'mnt')?.ino;
  const key = `${mounts} ${vma.devMajor}:${vma.devMinor} ${vma.ino} ${flags} ${vma.name}`;
  const id = known.get(key) ?? task.context.openFiles.idOfPath(task.ref, mapFile(task.pid, vma), flags);
  known.set(key, id);
  return id;
}

/**
 * State that CRIU's image has no place for: names given with PR_SET_VMA_ANON_NAME, mappings locked on fault, sealed
 * mappings.
 */
function memoryStateOf(vmas: readonly ProcVma[]): Record<string, Json> {
  const names: Record<string, string> = {};
  const lockedOnFault: string[] = [];
  const sealed: string[] = [];
  for (const vma of vmas) {
    const name = vmaName(vma.name);
    if (name.kind === 'anon') names[hex(vma.start)] = name.label;
    if (vma.vmFlags?.has('lf')) lockedOnFault.push(hex(vma.start));
    // The kernel seals its own pages itself, if it is built so.
    if (vma.vmFlags?.has('sl') && vma.name !== '[vdso]' && !isVvar(vma.name)) sealed.push(hex(vma.start));
  }
  return {
    ...(Object.keys(names).length > 0 ? { names } : {}),
    ...(lockedOnFault.length > 0 ? { lockedOnFault } : {}),
    ...(sealed.length > 0 ? { sealed } : {}),
  };
}

/**
 * The auxiliary vector for the image. CRIU refuses more words than its own AT_VECTOR_SIZE. Newer kernels give more, but
 * the rest is zeros.
 */
function savedAuxv(pid: HostPid): bigint[] {
  const words = auxvWords(readProc(pid, 'auxv'));
  const isRest = (word: bigint, i: number): boolean => i >= CRIU_AUXV_WORDS && word === 0n;
  return words.filter((word, i) => !isRest(word, i));
}

const CRIU_AUXV_WORDS = 44;

function capture(task: DumpTask, program: Program): () => void {
  const { stat, mm } = task;
  const brk = program.call('brk', 0);
  Object.assign(mm, {
    mm_start_code: stat.startCode,
    mm_end_code: stat.endCode,
    mm_start_data: stat.startData,
    mm_end_data: stat.endData,
    mm_start_stack: stat.startStack,
    mm_start_brk: stat.startBrk,
    mm_arg_start: stat.argStart,
    mm_arg_end: stat.argEnd,
    mm_env_start: stat.envStart,
    mm_env_end: stat.envEnd,
    exe_file_id: task.context.openFiles.idOfPath(task.ref, `/proc/${task.pid}/exe`, O.RDONLY),
    mm_saved_auxv: savedAuxv(task.pid),
  });
  const readKeys = captureKeys(task, program);
  return () => {
    mm.mm_brk = program.result(brk);
    readKeys();
    const { changes } = task.context;
    if (!task.captured.vm && changes?.mustEnter(task)) changes.enter(task, task.remote);
  };
}

const EARLIER_TASKS = new Slot((_: DumpContext) => new EarlierTasks());

function drain(task: DumpTask): void {
  if (isStoredLater(task)) drawUp(task, scanGuards(task.pid, task.vmas), {});
  else drainNow(task);
}

function drainNow(task: DumpTask): void {
  const earlierTasks = EARLIER_TASKS.of(task.context);
  const own = scanOwnPages(task.pid, task.vmas);
  const state: Record<string, Json> = {};
  if (task.captured.vm) {
    // A shared address space is stored once, but every task needs a pagemap, so this one is empty.
    task.context.pages.storeTask(task.pid, { plain: [], hidden: [] });
    const pages = earlierTasks.sharing(task.pid);
    if (pages !== undefined) state.pages = task.tree.pids.saved(pages);
  } else {
    const inParent = task.context.changes?.inParent(task, own.ranges, own.unwritten) ?? [];
    const { plain, hidden } = toStore(task.pid, own.ranges, task.vmas);
    const shared = earlierTasks.sharedPagesOf(task.pid, hostPid(task.stat.ppid), hidden);
    const rest = withoutParent({ plain, hidden: without(hidden, shared?.ranges ?? []) }, inParent);
    const same = shared && { ...shared, ranges: without(shared.ranges, inParent) };
    const lazy = lazyRanges(task.vmas, stackPointersOf(task));
    task.context.pages.storeTask(task.pid, { ...rest, same, lazy });
    if (shared) state.common = encodeSharedPages({ ...shared, of: task.tree.pids.saved(shared.of) });
  }
  drawUp(task, own.guards, state);
}

/**
 * Whether the pages of a task are looked for and stored when the tree goes on. Not those of a task that may share some
 * with one stored before, or whose writes are noticed: that can only be seen of the task itself, while it stands.
 */
function isStoredLater(task: DumpTask): boolean {
  const { pid, stat, vmas, captured, context } = task;
  const earlierTasks = EARLIER_TASKS.of(context);
  if (captured.vm || context.changes || !earlierTasks.isFirst(hostPid(stat.ppid))) return false;
  const lazy = lazyRanges(vmas, stackPointersOf(task));
  const isKept = context.pages.storeTaskLater(pid, vmas, (own) => ({ ...toStore(undefined, own, vmas), lazy }));
  if (isKept) earlierTasks.add(pid);
  return isKept;
}

/** Writes down the mappings, and what images have no place for. */
function drawUp(task: DumpTask, guards: readonly PageRange[], more: Record<string, Json>): void {
  task.mm.vmas = [...vmaEntries(task), ...guards.map(guardEntry)];
  const state = { ...memoryStateOf(task.vmas), ...more };
  if (Object.keys(state).length > 0) task.ownState.memory = state;
}

function stackPointersOf({ threads }: DumpTask): number[] {
  return threads.map(({ tracee, registers }) => Number(tracee.arch.sp(registers)));
}

/** The vma_entry for a guard region (MADV_GUARD_INSTALL), which images hold as a mapping of its own. */
function guardEntry(range: PageRange): VmaDraft {
  return {
    start: range.start,
    end: range.start + range.length,
    pgoff: 0,
    shmid: 0,
    prot: 0,
    flags: 0,
    status: VmaStatus.GUARD,
    fd: 0,
  };
}

/**
 * The address space. The kind runs after `sysv`, since segments must exist before they are attached, and after
 * `cgroups`, since memory is charged to the cgroup a task is in.
 */
export const memory: TaskKind = {
  name: 'memory',
  after: ['cgroups', 'clocks', 'sysv'],
  obstacles,
  capture,
  drain,
  rebuild: {
    memory: (task) => REBUILDING.load().rebuildMemory(task),
    mapped: (task) => REBUILDING.load().finishMemory(task),
  },
};
