/** Regular files, directories, symbolic links, and devices without state (/dev/null). */
import type { StasisError } from '../../../base/errors.ts';
import { Part } from '../../../base/part.ts';
import type { DumpContext, FileDraft, FileKind, OpenFile, SeenTask, SeenTree } from '../../../contract/contract.ts';
import { FdTypes } from '../../../images/schema/files.ts';
import { MEM_MAJOR, O, S_IF } from '../../../kernel/constants/files.ts';
import { TOO_DEEP } from '../../../kernel/proc/read.ts';
import { segmentFlag } from '../../../memory/segments.ts';
import { captureRegular, regularObstacle } from '../../../paths/regfile.ts';

const REBUILDING = new Part(() => require('./rebuild.ts') as typeof import('./rebuild.ts'));
// Only where there is a file that could be a queue.
const QUEUES = new Part(() => require('./message-queue.ts') as typeof import('./message-queue.ts'));

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

/** What carries POSIX message queues, if a file is one. */
function queuesFor(file: OpenFile, tree: SeenTree): typeof import('./message-queue.ts') | undefined {
  // mq_open(2) opens it on a mount of the kernel's own: a name in the root of a file system without a device.
  const { link, stat } = file;
  const isAlike = /^\/[^/]+$/.test(link) && (stat.mode & S_IF.MT) === S_IF.REG && stat.dev >>> 20 === 0;
  return isAlike && QUEUES.load().isQueue(file, tree) ? QUEUES.load() : undefined;
}

function whyNot(file: OpenFile, task: SeenTask): StasisError | undefined {
  const queues = queuesFor(file, task.tree);
  return queues ? queues.queueObstacle(file, task) : regularObstacle(file, task.tree);
}

function capture(file: OpenFile, id: number, context: DumpContext): FileDraft {
  const queues = queuesFor(file, context.tree);
  return queues ? queues.captureQueue(file, id, context) : { reg: captureRegular(file, id, context) };
}

/** Files that have a path. */
export const regular = {
  name: 'regular',
  type: FdTypes.REG,
  recognises,
  obstacle: whyNot,
  capture,
  rebuild: (entry, context, flags) => REBUILDING.load().rebuild(entry, context, flags),
  finish: (entry, fd, task) => REBUILDING.load().finish(entry, fd, task),
} satisfies FileKind;
