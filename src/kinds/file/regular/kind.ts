/** Regular files, directories, symbolic links, and devices without state (/dev/null). */
import type { LocalFd, TaskFd } from '../../../base/brands.ts';
import type { StasisError } from '../../../base/errors.ts';
import type {
  DumpContext,
  FileDraft,
  FileKind,
  OpenFile,
  RestoreContext,
  RestoreTask,
  SeenTask,
} from '../../../contract/contract.ts';
import { ImageError } from '../../../images/error.ts';
import { FdTypes, type FileEntry, type RegFileEntry } from '../../../images/schema/files.ts';
import { MEM_MAJOR, O, S_IF } from '../../../kernel/constants/files.ts';
import { TOO_DEEP } from '../../../kernel/proc/read.ts';
import { segmentFlag } from '../../../memory/segments.ts';
import { openPath } from '../../../paths/open-path.ts';
import { openRegular } from '../../../paths/open-regfile.ts';
import { nameHere } from '../../../paths/proc-names.ts';
import { captureRegular, regularObstacle } from '../../../paths/regfile.ts';
import { armAsync } from '../../../support/fown.ts';
import { openInTask, PLACEHOLDER } from '../../../support/open-in-task.ts';
import { captureQueue, isQueue, openQueue, queueObstacle } from './message-queue.ts';

/** Recognises files with a path whose only state is their content. A file opened with O_PATH may be of any type. */
function recognises(file: OpenFile): boolean {
  if (!file.link.startsWith('/') && file.link !== TOO_DEEP) return false;
  if (segmentFlag(file) !== undefined) return false;
  if ((file.flags & O.PATH) !== 0) return true;
  switch (file.stat.mode & S_IF.MT) {
    case S_IF.REG:
    case S_IF.DIR:
    case S_IF.LNK:
      return true;
    case S_IF.CHR:
      return file.stat.rdev >>> 20 === MEM_MAJOR;
    default:
      return false;
  }
}

function whyNot(file: OpenFile, task: SeenTask): StasisError | undefined {
  return isQueue(file, task.tree) ? queueObstacle(file, task) : regularObstacle(file, task.tree);
}

function capture(file: OpenFile, id: number, context: DumpContext): FileDraft {
  return isQueue(file, context.tree) ? captureQueue(file, id, context) : { reg: captureRegular(file, id, context) };
}

/** As FileKind.rebuild; with `flags` it is opened with these flags, to be mapped. */
function rebuild(entry: FileEntry, context: RestoreContext, flags?: number): LocalFd {
  if (!entry.reg) throw new ImageError({ file: 'files.img', reason: `file ${entry.id} has no reg_file_entry` });
  if (isAboutDescriptor(entry.reg)) return openPath(PLACEHOLDER, O.RDONLY, entry.reg.name);
  return openQueue(entry.reg, context) ?? openRegular(entry.reg, context, flags);
}

function finish(entry: FileEntry, fd: TaskFd, task: RestoreTask): void {
  const { id, reg } = entry;
  if (!reg) return;
  if (isAboutDescriptor(reg)) openInTask(task, id, nameHere(reg, task.context), reg.flags, reg.pos);
  armAsync(fd, reg.flags, task);
}

/** Whether it is a file such as /proc/17/fdinfo/4, which does not exist before the task has its descriptor 4. */
function isAboutDescriptor(reg: RegFileEntry): boolean {
  return /^\/proc\/\d+\/(task\/\d+\/)?fdinfo\/\d+$/.test(reg.name);
}

/** Files that have a path. */
export const regular = {
  name: 'regular',
  type: FdTypes.REG,
  recognises,
  obstacle: whyNot,
  capture,
  rebuild,
  finish,
} satisfies FileKind;
