/** The host's System V segments at a restore: existing ones are used, the others are made again. */

import { StasisError } from '../../../base/errors.ts';
import { logDebug, logInfo } from '../../../base/log.ts';
import type { RestoreContext } from '../../../contract/contract.ts';
import type { Entry } from '../../../images/image.ts';
import { NAMESPACE_IDS } from '../../../images/namespace-ids.ts';
import type { IpcShmEntry } from '../../../images/schema/namespaces.ts';
import { MADV } from '../../../kernel/constants/memory.ts';
import { memoryFile } from '../../../kernel/files.ts';
import type { SysvSegment } from '../../../kernel/proc/sysvipc.ts';
import { syscall, trySyscall } from '../../../kernel/syscall.ts';
import { objectName, removeObject } from '../../../namespaces/ipc/objects.ts';
import {
  attachHere,
  fillSegment,
  holdSegment,
  makeSegment,
  markIfDestroyed,
  SAVED_SEGMENTS,
  segmentLength,
  segmentsHere,
  transfer,
} from '../../../namespaces/ipc/segments.ts';

const HOST = NAMESPACE_IDS.ipc_ns_id;

/** Makes sure that all segments of the images exist, and keeps them until the tasks have attached them. */
export function provideSegments(context: RestoreContext): void {
  const saved = [...SAVED_SEGMENTS.of(context, HOST).values()];
  if (saved.length === 0) return;
  const present = segmentsHere();
  // All conflicts are reported before anything is made.
  for (const { message } of saved) requireRoom(message, present);
  for (const segment of saved) {
    const { desc } = segment.message;
    const found = present.find(({ id }) => id === desc.id);
    if (!found) make(segment.message, context);
    const at = holdSegment(segment.message, context);
    // A process that has the segment attached may have changed it, so its content is left. If none has, the saved
    // content is restored.
    if (!found) fillSegment(segment, HOST, at, context);
    else if (found.attached === 0) putBack(segment, at, context);
    else logInfo(`shared memory segment ${found.id} is in use: it is left as it is`);
  }
}

/** @throws StasisError kind 'conflict' if another segment has the id or the key */
function requireRoom({ desc, size }: IpcShmEntry, present: readonly SysvSegment[]): void {
  const sameId = present.find(({ id }) => id === desc.id);
  if (sameId?.key === desc.key && sameId.size === Number(size)) return;
  const other = sameId ?? present.find(({ key }) => key === desc.key && key !== 0);
  if (!other) return;
  throw new StasisError({
    kind: 'conflict',
    code: 'SYSV_SEGMENT_TAKEN',
    resource: objectName('shm', desc),
    reason: `another segment is there, with ID ${other.id}, key 0x${other.key.toString(16)} and ${other.size} bytes`,
    remedy: `end the programs that use it and remove it (ipcrm -m ${other.id}), or restore inside a new IPC namespace`,
  });
}

/** Makes an empty segment, which is removed if the restore fails. */
function make(segment: IpcShmEntry, context: RestoreContext): void {
  makeSegment(segment, context.ids);
  context.undo(() => removeObject('shm', segment.desc.id));
  logDebug(`${objectName('shm', segment.desc)} is made`);
}

/** Replaces the content of a segment by the saved one. The previous content is restored if the restore fails. */
function putBack(segment: Entry<IpcShmEntry, Uint8Array>, at: number, context: RestoreContext): void {
  const { desc } = segment.message;
  const length = segmentLength(segment.message);
  const copy = memoryFile('stasis-segment');
  transfer('pwrite64', copy, at, length);
  context.undo(() => {
    const again = attachHere(desc);
    transfer('pread64', copy, again, length);
    trySyscall('shmdt', again);
    copy[Symbol.dispose]();
  });
  syscall('madvise', at, length, MADV.REMOVE);
  fillSegment(segment, HOST, at, context);
}

/** Marks segments for destruction again that had been marked, when all tasks have attached them. */
export function markDestroyed(context: RestoreContext): void {
  for (const { message } of SAVED_SEGMENTS.of(context, HOST).values()) markIfDestroyed(message);
}
