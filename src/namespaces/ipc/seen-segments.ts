/** The System V segments that processes of a tree have attached, at a dump. */
import { StasisError } from '../../base/errors.ts';
import type { SeenNamespace, SeenTask, SeenTree } from '../../contract/contract.ts';
import { KeyedSlot } from '../../contract/slots.ts';
import type { ProcVma } from '../../kernel/proc/smaps.ts';
import type { SysvSegment } from '../../kernel/proc/sysvipc.ts';
import { vmaName } from '../../kernel/proc/vmaname.ts';
import { insideSeen } from '../inside.ts';
import { SEEN_NAMESPACES } from '../seen.ts';
import { isOfSegment } from './foreign.ts';
import { segmentsHere } from './segments.ts';

/** Does `work` inside an IPC namespace of the tree, which may be our own. */
export function insideIpc<T>(namespace: SeenNamespace, work: () => T): T {
  return insideSeen('ipc', namespace, work);
}

/** The segments of an IPC namespace, by ID. */
export const SEGMENTS = new KeyedSlot(
  (_: SeenTree, namespace: SeenNamespace): ReadonlyMap<number, SysvSegment> =>
    new Map(insideIpc(namespace, segmentsHere).map((segment) => [segment.id, segment])),
);

/** Mappings of segments; their inode number is the segment's ID. */
export function attachedSegments(task: SeenTask): ProcVma[] {
  return task.vmas.filter(({ name }) => vmaName(name).kind === 'sysv');
}

/** Mappings of segments that do not belong to the IPC namespace that the process is in. */
export function foreignSegments(task: SeenTask): StasisError[] {
  const vmas = attachedSegments(task);
  const namespace = vmas.length > 0 ? SEEN_NAMESPACES.of(task.tree).of(task.pid, 'ipc') : undefined;
  if (!namespace) return [];
  const known = SEGMENTS.of(task.tree, namespace);
  const isKnown = (vma: ProcVma): boolean => {
    const segment = known.get(Number(vma.ino));
    return segment !== undefined && insideIpc(namespace, () => isOfSegment(task.pid, vma, segment));
  };
  return vmas
    .filter((vma) => !isKnown(vma))
    .map(({ start, name, ino }) => {
      // An attached segment is listed in its namespace even if it is marked for destruction.
      const resource = `mapping ${start.toString(16)} ${name}`;
      const reason = `segment ${ino} belongs to another IPC namespace than the process is in; such segments are not carried`;
      const remedy = 'have the task detach it (shmdt) before the dump';
      const facts = { kind: 'unsupported', code: 'SYSV_SEGMENT_FOREIGN', task: task.ref, resource } as const;
      return new StasisError({ ...facts, reason, remedy });
    });
}
