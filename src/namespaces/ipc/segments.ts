/**
 * Segments of System V shared memory: how they are saved, and made again. All functions act in the IPC namespace that
 * Stasis is in at that moment. The kind of the host's segments (kinds/tree/sysv) uses them, and that of IPC namespaces.
 */
import { PAGE_SIZE } from '../../arch/page-size.ts';
import type { DumpContext, IdView, RestoreContext } from '../../contract/contract.ts';
import { KeyedSlot, Slot } from '../../contract/slots.ts';
import type { Entry } from '../../images/image.ts';
import { Images } from '../../images/kinds.ts';
import type { InputOf } from '../../images/message.ts';
import { NAMESPACE_IDS } from '../../images/namespace-ids.ts';
import type { IpcShmEntry, ipcShmEntry } from '../../images/schema/namespaces.ts';
import { FS_MAGIC, O } from '../../kernel/constants/files.ts';
import { IPC, SHM_CTL, SHM_MODE } from '../../kernel/constants/ipc.ts';
import { MAP, SHM } from '../../kernel/constants/memory.ts';
import { dataRanges } from '../../kernel/data-ranges.ts';
import { memoryFile, openFile } from '../../kernel/files.ts';
import { readProc, readSystem } from '../../kernel/proc/read.ts';
import { mapFile, parseSmaps } from '../../kernel/proc/smaps.ts';
import { parseSysvShm, type SysvSegment } from '../../kernel/proc/sysvipc.ts';
import { vmaName } from '../../kernel/proc/vmaname.ts';
import { statusOf } from '../../kernel/statx.ts';
import { arenaAddress, arenaView, ERRNO, type Fd, SyscallError, syscall, trySyscall } from '../../kernel/syscall.ts';
import { storedPieces } from '../../support/page-store.ts';
import { fillMapping, pageRanges } from '../../support/segment-content.ts';
import { descriptionOf, makeObject, objectName, setOwner } from './objects.ts';

export type SavedSegment = Entry<InputOf<typeof ipcShmEntry>, Uint8Array>;

/** The segments of the current IPC namespace. */
export function segmentsHere(): SysvSegment[] {
  return parseSysvShm(readSystem('/proc/sysvipc/shm'));
}

/**
 * Saves a segment with its content. `via` is a mapping of it in a process of the tree, so that the kernel does not note
 * that it was attached once more; without one it is attached.
 */
export function saveSegment(
  segment: SysvSegment,
  namespaceId: number,
  via: string | undefined,
  ids: IdView,
  context: DumpContext,
): SavedSegment {
  using file = via === undefined ? openAttached(segment) : openFile(via, O.RDONLY);
  const content = CONTENTS.of(context).idFor(namespaceId, segment.id);
  const ranges = pageRanges(dataRanges(file.number, statusOf(file.number).size));
  context.pages.storeSegment(content, file.number, ranges);
  const hugePages = hugeFlag(file);
  const message = { desc: descriptionOf(segment, ids), size: segment.size, in_pagemaps: true };
  return { message: hugePages === 0 ? message : { ...message, hugetlb_flag: hugePages } };
}

/** Opens the file of a segment that no process of the tree has attached. */
function openAttached(segment: SysvSegment): Fd {
  const at = trySyscall('shmat', segment.id, 0, SHM.RDONLY);
  if (at < 0) throw new SyscallError('shmat', -at, { resource: objectName('shm', segment) });
  try {
    const mapping = parseSmaps(readProc('self', 'maps')).find(({ start }) => start === at);
    return openFile(mapFile(process.pid, mapping ?? { start: at, end: at + segment.size }), O.RDONLY);
  } finally {
    trySyscall('shmdt', at);
  }
}

/** The flags of shmget(2) for the size of the pages; 0 for ordinary ones. */
function hugeFlag({ number }: Fd): number {
  if (trySyscall('fstatfs', number, arenaAddress) < 0 || arenaView.getUint32(0, true) !== FS_MAGIC.HUGETLBFS_MAGIC)
    return 0;
  const pageSize = Number(arenaView.getBigInt64(8, true));
  return (SHM.HUGETLB | (Math.log2(pageSize) << MAP.HUGE_SHIFT)) >>> 0;
}

/** Above all inode numbers of memfds, and IDs of segments. */
const APART = 2 ** 40;

/** The ID of a content that no other content has, whatever its segment is called. */
function idApart(namespaceId: number, id: number): number {
  return APART * (namespaceId === NAMESPACE_IDS.ipc_ns_id ? 1 : namespaceId) + id;
}

/**
 * The IDs under which images keep the contents of segments. CRIU uses the ID of the segment, which may equal the inode
 * number of a memfd, whose content is in images of the same name, or the ID of a segment in another namespace.
 */
class ContentIds {
  readonly #taken: Set<number>;

  constructor({ tree }: DumpContext) {
    const mapped = tree.tasks.flatMap(({ vmas }) => vmas.filter(({ name }) => vmaName(name).kind !== 'sysv'));
    const open = tree.tasks.flatMap(({ fds }) => fds.map(({ stat }) => Number(stat.ino)));
    this.#taken = new Set([...mapped.map(({ ino }) => Number(ino)).filter((ino) => ino !== 0), ...open]);
  }

  /** As CRIU has it, if nothing else has that number. CRIU carries no segments of the host. */
  idFor(namespaceId: number, id: number): number {
    const free = namespaceId !== NAMESPACE_IDS.ipc_ns_id && !this.#taken.has(id);
    this.#taken.add(id);
    return free ? id : idApart(namespaceId, id);
  }
}

const CONTENTS = new Slot((context: DumpContext) => new ContentIds(context));

/** The segments of an IPC namespace in the images, by ID. */
export const SAVED_SEGMENTS = new KeyedSlot(
  ({ images }: RestoreContext, namespaceId: number): ReadonlyMap<number, Entry<IpcShmEntry, Uint8Array>> =>
    new Map(images.readEntries(Images.ipcnsShm, namespaceId).map((entry) => [entry.message.desc.id, entry])),
);

/** Makes an empty segment. @throws StasisError */
export function makeSegment({ desc, size, hugetlb_flag: huge = 0 }: IpcShmEntry, ids: IdView): void {
  makeObject('shm', desc, ids, (flags) => trySyscall('shmget', desc.key | 0, size, flags | huge));
  setOwner('shm', desc, ids);
  if (desc.mode & SHM_MODE.LOCKED) trySyscall('shmctl', desc.id, SHM_CTL.LOCK, 0);
}

/**
 * Attaches a segment to Stasis until the end of the restore, when the tasks have it: an unattached segment may be
 * removed (kernel.shm_rmid_forced). Returns its address.
 */
export function holdSegment({ desc }: Pick<IpcShmEntry, 'desc'>, context: RestoreContext): number {
  const at = attachHere(desc);
  context.atEnd(() => trySyscall('shmdt', at));
  return at;
}

/** Attaches a segment to Stasis. Returns its address. @throws SyscallError */
export function attachHere(desc: IpcShmEntry['desc']): number {
  const at = trySyscall('shmat', desc.id, 0, 0);
  if (at < 0) throw new SyscallError('shmat', -at, { resource: objectName('shm', desc) });
  return at;
}

/** Bytes a segment takes in an address space. */
export function segmentLength({ size, hugetlb_flag: huge = 0 }: Pick<IpcShmEntry, 'size' | 'hugetlb_flag'>): number {
  const unit = segmentPageSize({ hugetlb_flag: huge });
  return Math.ceil(Number(size) / unit) * unit;
}

/** The size of the pages of a segment. */
export function segmentPageSize({ hugetlb_flag: huge = 0 }: Pick<IpcShmEntry, 'hugetlb_flag'>): number {
  return huge === 0 ? PAGE_SIZE : 2 ** (huge >>> MAP.HUGE_SHIFT);
}

/** Fills an empty segment that is attached at `at` with its saved content. @throws ImageError */
export function fillSegment(
  { message, payload }: Entry<IpcShmEntry, Uint8Array>,
  namespaceId: number,
  at: number,
  context: RestoreContext,
): void {
  const { id } = message.desc;
  // Old versions of CRIU have the content behind the entry.
  if (!message.in_pagemaps) {
    putBytes(payload ?? new Uint8Array(), at);
    return;
  }
  const apart = idApart(namespaceId, id);
  const content = storedPieces(context.images, Images.shmemPagemap, apart) ? apart : id;
  fillMapping(at, content, segmentLength(message), context);
}

function putBytes(bytes: Uint8Array, at: number): void {
  using copy = memoryFile('stasis-segment');
  for (let done = 0; done < bytes.length; ) {
    const written = trySyscall('pwrite64', copy.number, bytes.subarray(done), bytes.length - done, done);
    if (written > 0) done += written;
    else if (written !== -ERRNO.EINTR) throw new SyscallError('pwrite64', -written || ERRNO.EIO);
  }
  transfer('pread64', copy, at, bytes.length);
}

/** Reads or writes exactly `length` bytes between a file and our memory. @throws SyscallError */
export function transfer(call: 'pread64' | 'pwrite64', file: Fd, at: number, length: number): void {
  for (let done = 0; done < length; ) {
    const moved = trySyscall(call, file.number, at + done, length - done, done);
    if (moved > 0) done += moved;
    else if (moved !== -ERRNO.EINTR)
      throw new SyscallError(call, -moved || ERRNO.EIO, { resource: 'a copy of a segment' });
  }
}

/** Marks a segment for destruction again that had been marked. The tasks have attached it. */
export function markIfDestroyed({ desc }: IpcShmEntry): void {
  if (desc.mode & SHM_MODE.DEST) syscall('shmctl', desc.id, IPC.RMID, 0);
}
