/**
 * Files that have a name: regular files, directories, devices, symbolic links held with O_PATH, and the named entry of
 * FIFOs and terminals. Used by the kinds of such files and by everything that refers to files by ID (mappings, the
 * executable, cwd and root). This is the half of the dump; open-regfile.ts is the half of the restore.
 */
import type { LocalFd } from '../base/brands.ts';
import type { StasisError } from '../base/errors.ts';
import type { DumpContext, OpenFile, SeenTree } from '../contract/contract.ts';
import { Slot } from '../contract/slots.ts';
import { Images } from '../images/kinds.ts';
import type { InputOf } from '../images/message.ts';
import { FdTypes, RemapType, type regFileEntry } from '../images/schema/files.ts';
import { O, S_IF } from '../kernel/constants/files.ts';
import { parseFdInfo } from '../kernel/proc/fdinfo.ts';
import { ERRNO, type Fd, SyscallError, trySyscall } from '../kernel/syscall.ts';
import { placeOf } from '../namespaces/places.ts';
import { fileObstacle } from '../support/fdinfo.ts';
import { captureOwner, imageFlags } from '../support/fown.ts';
import { buildIdWords, type ReadAt } from './build-id.ts';
import { captureGhost, ghostObstacle, reopen } from './ghost/capture.ts';
import { isOverlay, linkOpenFile, location } from './locate.ts';
import { noteProcesses } from './proc-names.ts';
import { unlinkFile } from './temporary-name.ts';

/** A reg_file_entry to be written. */
export type RegFileDraft = InputOf<typeof regFileEntry>;

/**
 * Describes a file by its name, and makes sure that it can be opened again: a file without a name is saved as a ghost,
 * and a file whose remaining names are unknown gets a link. `id` is its ID in files.img, to which remaps refer.
 * @throws StasisError kind 'unsupported' when it cannot be carried
 */
export function captureRegular(file: OpenFile, id: number, context: DumpContext): RegFileDraft {
  const flags = imageFlags(file.flags);
  const where = location(file, context.tree);
  const draft = {
    id,
    flags,
    pos: position(file),
    fown: isReached(file) ? NOBODY : captureOwner(file.local, flags, context),
    mode: file.stat.mode,
    ...mountOf(file, context),
  };
  const checks = validation(file, context);
  switch (where.kind) {
    case 'lost':
      throw fileObstacle(file, where.code, where.reason, where.remedy);
    case 'external':
      return { ...draft, ...checks, name: where.name, ext: true };
    case 'ghost':
      remap(context, id, captureGhost(file, context), RemapType.GHOST);
      break;
    case 'linked':
      remapLinked(file, where.name, id, context);
      break;
    case 'deadTask':
      remap(context, id, where.pid, RemapType.PROCFS);
      break;
    default:
      noteProcesses(file, where.name, id, context);
      break;
  }
  return { ...draft, ...checks, name: where.name };
}

/** Why a file cannot be carried; undefined if it can. Changes nothing. */
export function regularObstacle(file: OpenFile, tree: SeenTree): StasisError | undefined {
  const where = location(file, tree);
  if (where.kind === 'lost') return fileObstacle(file, where.code, where.reason, where.remedy);
  return where.kind === 'ghost' ? ghostObstacle(file, tree.options.ghostLimit) : undefined;
}

/** The mount that the path of a file begins at, where that is not the machine's. */
function mountOf(file: OpenFile, context: DumpContext): { readonly mnt_id?: number } {
  return placeOf(file, context.tree) ? { mnt_id: file.mntId } : {};
}

/**
 * Whether the file was not borrowed but opened through a path such as /proc/PID/exe. Our descriptor is then an O_PATH
 * one, whatever `flags` say.
 */
function isReached(file: OpenFile): boolean {
  return file.fd < 0;
}

/** Device 1:11, /dev/kmsg. */
const KMSG = (1 << 20) | 11;

/**
 * The file position for the image. The kernel refuses to seek in /dev/kmsg if it was opened for writing; -1 stands for
 * that.
 */
function position(file: OpenFile): bigint {
  const kmsg = (file.stat.mode & S_IF.MT) === S_IF.CHR && file.stat.rdev === KMSG;
  if (kmsg && (file.flags & O.ACCMODE) === O.WRONLY && file.pos === 0) return 0xffff_ffff_ffff_ffffn;
  // The position in a directory may be a hash that uses all bits.
  const exact = Number.isSafeInteger(file.pos) ? BigInt(file.pos) : parseFdInfo(file.fdinfo()).pos;
  return BigInt.asUintN(64, exact);
}

/** The fields by which the restore checks that the file is the same: its size and its build ID. Log files may grow. */
function validation(file: OpenFile, context: DumpContext): Partial<RegFileDraft> {
  if ((file.stat.mode & S_IF.MT) !== S_IF.REG) return {};
  if ((file.flags & O.ACCMODE) === O.WRONLY && (file.flags & O.APPEND) !== 0) return {};
  const words = context.options.fileValidation === 'buildid' ? buildIdOf(file, context) : [];
  return { size: file.stat.size, build_id: words };
}

/** The build IDs read so far, by device and inode number. */
const BUILD_IDS = new Slot((_: DumpContext) => new Map<string, readonly number[]>());

/**
 * The build ID of a file; empty if it has none or cannot be read. Files of sysfs are left out, since reading them may
 * have effects, and so are files open for writing only: they would have to be opened again, which may break a lease.
 */
function buildIdOf(file: OpenFile, context: DumpContext): readonly number[] {
  if (file.stat.size < 5 || file.link.startsWith('/sys/')) return [];
  const path = isReached(file) || (file.flags & O.PATH) !== 0;
  if (!path && (file.flags & O.ACCMODE) === O.WRONLY) return [];
  const known = BUILD_IDS.of(context);
  const key = `${file.stat.dev}:${file.stat.ino}`;
  let words = known.get(key);
  if (!words) {
    using own: Fd | undefined = path ? reopen(file.local, O.RDONLY) : undefined;
    words = buildIdWords(reader(own?.number ?? file.local));
    known.set(key, words);
  }
  return words;
}

/** Reads a file without changing its position; returns no bytes where it cannot be read. */
export function reader(local: LocalFd): ReadAt {
  return (offset, length) => {
    const bytes = new Uint8Array(length);
    const got = trySyscall('pread64', local, bytes, length, offset);
    return bytes.subarray(0, Math.max(got, 0));
  };
}

/** Keys of the files that have a remap already. */
const REMAPPED = new Slot((_: DumpContext) => new Set<string>());

function remap(context: DumpContext, id: number, to: number, type: number): void {
  const done = REMAPPED.of(context);
  // CRIU makes one helper process for a dead task, however many of its files are open.
  const key = type === RemapType.PROCFS ? `dead ${to}` : `${id}`;
  if (done.has(key)) return;
  done.add(key);
  context.append(Images.remapFpath, { orig_id: id, remap_id: to, remap_type: type });
}

/**
 * Makes a link to the file in the directory it was in, or in the nearest existing directory above. The link is removed
 * when the file has been restored.
 */
function remapLinked(file: OpenFile, name: string, id: number, context: DumpContext): void {
  const place = placeOf(file, context.tree);
  for (let directory = parentOf(name); ; ) {
    const linkId = context.newFileId();
    const path = `${directory === '/' ? '' : directory}/link_remap.${linkId}`;
    const result = linkOpenFile(file.local, path, place);
    if (result === 0) {
      context.undo(() => unlinkFile(path, place));
      const reg = { ...NOTHING_BUT_A_NAME, ...mountOf(file, context), id: linkId, name: path };
      context.addFile({ type: FdTypes.REG, id: linkId, reg });
      remap(context, id, linkId, RemapType.LINKED);
      return;
    }
    if (result === -ERRNO.EEXIST) continue;
    const missing = result === -ERRNO.ENOENT || result === -ERRNO.ENOTDIR;
    if (!missing || directory === '/') {
      // A file of a lower layer only seems to have links left; directories further up are on another file system.
      if (!isOverlay(file.local)) throw linkError(file, path, -result);
      remap(context, id, captureGhost(file, context), RemapType.GHOST);
      return;
    }
    directory = parentOf(directory);
  }
}

const NOBODY = { uid: 0, euid: 0, signum: 0, pid_type: 0, pid: 0 } as const;
const NOTHING_BUT_A_NAME = { flags: 0, pos: 0, fown: NOBODY } as const;

function parentOf(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf('/'), 1));
}

function linkError(file: OpenFile, path: string, errno: number): SyscallError {
  return new SyscallError('linkat', errno, { task: file.task, resource: `${file.link} as ${path}` });
}
