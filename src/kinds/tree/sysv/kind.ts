/**
 * System V objects of the host's IPC namespace. They do not belong to the tasks, but shared memory segments that tasks
 * have attached are saved with their content, and are found again or made again at the restore. Semaphores and message
 * queues are only used by ID and stay as they are.
 */
import { StasisError } from '../../../base/errors.ts';
import type { DumpContext, DumpTask, SeenTask, SeenTree, TaskKind } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import type { Entry } from '../../../images/image.ts';
import { Images } from '../../../images/kinds.ts';
import type { InputOf } from '../../../images/message.ts';
import { NAMESPACE_IDS } from '../../../images/namespace-ids.ts';
import type { ipcShmEntry } from '../../../images/schema/namespaces.ts';
import { AT, O } from '../../../kernel/constants/files.ts';
import { MAP, SHM } from '../../../kernel/constants/memory.ts';
import { readSystem } from '../../../kernel/proc/read.ts';
import type { ProcVma } from '../../../kernel/proc/smaps.ts';
import { parseSysvShm, type SysvSegment } from '../../../kernel/proc/sysvipc.ts';
import { vmaName } from '../../../kernel/proc/vmaname.ts';
import { statusOf } from '../../../kernel/statx.ts';
import { arenaPath, Fd, SyscallError, trySyscall } from '../../../kernel/syscall.ts';
import { captureSegment } from '../../../memory/segments.ts';
import { mapFile } from '../../../memory/vma.ts';
import { isOurs } from './foreign.ts';
import { pagesOf } from './pages.ts';
import { markDestroyed, provideSegments } from './segment.ts';
import { lastChanges } from './semaphores.ts';

type SegmentEntry = Entry<InputOf<typeof ipcShmEntry>, Uint8Array>;

/** Mappings of segments; their inode number is the segment's ID. */
function attached(task: SeenTask): ProcVma[] {
  return task.vmas.filter(({ name }) => vmaName(name).kind === 'sysv');
}

/** All segments of our IPC namespace, by id. */
const SEGMENTS = new Slot(
  (_: SeenTree): ReadonlyMap<number, SysvSegment> =>
    new Map(parseSysvShm(readSystem('/proc/sysvipc/shm')).map((segment) => [segment.id, segment])),
);

function obstacles(task: SeenTask): StasisError[] {
  const vmas = attached(task);
  if (vmas.length === 0) return [];
  const known = SEGMENTS.of(task.tree);
  return vmas.flatMap((vma) => {
    const { start, name, ino } = vma;
    const segment = known.get(Number(ino));
    if (segment && isOurs(task.pid, vma, segment)) return [];
    const resource = `mapping ${start.toString(16)} ${name}`;
    // An attached segment is listed in its namespace even if it is marked for destruction.
    const reason = `segment ${ino} belongs to another IPC namespace than that of Stasis; such segments are not carried yet`;
    const remedy = 'have the task detach it (shmdt) before the dump';
    const facts = { kind: 'unsupported', code: 'SYSV_SEGMENT_FOREIGN', task: task.ref, resource } as const;
    return [new StasisError({ ...facts, reason, remedy })];
  });
}

/** Saves the segments the tasks of a tree have attached, each once. */
function capture(context: DumpContext): void {
  const { tree, images } = context;
  const all = tree.tasks.flatMap((member) => attached(member).map((vma) => ({ member, vma })));
  if (all.length === 0) return;
  const known = SEGMENTS.of(tree);
  const saved = new Map<number, SegmentEntry>();
  for (const { member, vma } of all) {
    const segment = known.get(Number(vma.ino));
    if (segment && !saved.has(segment.id)) saved.set(segment.id, save(context, member.pid, vma, segment));
  }
  images.writeEntries(Images.ipcnsShm, NAMESPACE_IDS.ipc_ns_id, [...saved.values()]);
}

/** Saves a segment through a task's mapping, so that the attach count does not change. */
function save(context: DumpContext, pid: number, vma: ProcVma, segment: SysvSegment): SegmentEntry {
  const { id, key, mode, uid, gid, cuid, cgid, size } = segment;
  const path = mapFile(pid, vma);
  const opened = trySyscall('openat', AT.FDCWD, arenaPath(path), O.RDONLY | O.CLOEXEC);
  if (opened < 0) throw new SyscallError('openat', -opened, { resource: `${path} (${vma.name})` });
  using file = new Fd(opened);
  captureSegment(file.number, pagesOf(id), statusOf(file.number).size, context);
  const huge = vma.vmFlags?.has('ht')
    ? { hugetlb_flag: (SHM.HUGETLB | (Math.log2(vma.kernelPageSize ?? 0) << MAP.HUGE_SHIFT)) >>> 0 }
    : {};
  return { message: { desc: { key, uid, gid, cuid, cgid, mode, id }, size, in_pagemaps: true, ...huge } };
}

/** The processes that last changed semaphores. */
const CHANGES = new Slot((_: DumpContext) => lastChanges());

/**
 * Warns about SEM_UNDO: its adjustments are applied when the dumped task ends, and the restored task does not know
 * that.
 */
function warnOfDebts(task: DumpTask): void {
  if (task.options.leaveRunning) return;
  const arrays = CHANGES.of(task.context).get(task.pid);
  if (!arrays) return;
  const which = `semaphore array${arrays.size === 1 ? '' : 's'} ${[...arrays].join(', ')}`;
  const reason = `the process has changed ${which}: what it has to undo (SEM_UNDO) is undone at its end, now`;
  task.context.notice({ task: task.ref, reason: `${reason}, and not known to it when it is restored` });
}

/** Segments of System V shared memory. */
export const sysv: TaskKind = {
  name: 'sysv',
  obstacles,
  drain: warnOfDebts,
  tree: { capture, prepare: provideSegments, rebuilt: { mapped: markDestroyed } },
};
