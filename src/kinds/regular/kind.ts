/** Regular files, directories, symbolic links, and the devices that are nothing but their name (/dev/null). */
import type { StasisError } from '../../base/errors.ts';
import { ImageError } from '../../images/error.ts';
import { FdTypes, type FileEntry } from '../../images/schema/files.ts';
import { O, S_IF } from '../../kernel/constants/files.ts';
import type { DumpContext, FileDraft, FileKind, OpenFile, RestoreContext, RestoreTask, SeenTask } from '../contract.ts';
import { armAsync } from '../fown.ts';
import { openRegular } from '../open-regfile.ts';
import { captureRegular, regularObstacle } from '../regfile.ts';
import { obstacle } from '../whereabouts.ts';

/** Null, zero, full, random, mem, kmsg …: devices without state of their own (include/uapi/linux/major.h). */
const MEM_MAJOR = 1;

/** Whatever has a path. Kinds that know more of some of these files (terminals, FIFOs, memfds) are asked before. */
function recognises(file: OpenFile): boolean {
  if (!file.link.startsWith('/')) return false;
  const type = file.stat.mode & S_IF.MT;
  return (file.flags & O.PATH) !== 0 || (type !== S_IF.SOCK && type !== S_IF.IFO);
}

function whyNot(file: OpenFile, task: SeenTask): StasisError | undefined {
  const type = file.stat.mode & S_IF.MT;
  const path = (file.flags & O.PATH) !== 0;
  const device = type === S_IF.CHR || type === S_IF.BLK;
  if (device && !path && !(type === S_IF.CHR && file.stat.rdev >>> 20 === MEM_MAJOR)) {
    const what = type === S_IF.CHR ? 'character' : 'block';
    const number = `${file.stat.rdev >>> 20}:${file.stat.rdev & 0xfffff}`;
    return obstacle(file, `no kind of Stasis carries the state of ${what} device ${number}`);
  }
  return regularObstacle(file, task.options);
}

function capture(file: OpenFile, id: number, context: DumpContext): FileDraft {
  return { reg: captureRegular(file, id, context) };
}

function rebuild(entry: FileEntry, context: RestoreContext): number {
  if (!entry.reg) throw new ImageError({ file: 'files.img', reason: `file ${entry.id} has no reg_file_entry` });
  return openRegular(entry.reg, context);
}

function finish(entry: FileEntry, fd: number, task: RestoreTask): void {
  if (entry.reg) armAsync(fd, entry.reg.flags, task);
}

/** Files that have a path. Comes last in the registry: see {@link recognises}. */
export const regular: FileKind = {
  name: 'regular',
  type: FdTypes.REG,
  recognises,
  obstacle: whyNot,
  capture,
  rebuild,
  finish,
};
