/** Opens regular files again. */
import type { LocalFd, TaskFd } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import { Part } from '../../../base/part.ts';
import type { RestoreContext, RestoreTask } from '../../../contract/contract.ts';
import { ImageError } from '../../../images/error.ts';
import type { FileEntry, RegFileEntry } from '../../../images/schema/files.ts';
import { O } from '../../../kernel/constants/files.ts';
import { SAVED_IDS, wasOurs } from '../../../namespaces/made.ts';
import { openPath } from '../../../paths/open-path.ts';
import { openRegular } from '../../../paths/open-regfile.ts';
import { nameHere } from '../../../paths/proc-names.ts';
import { notedFile } from '../../../support/file-notes.ts';
import { armAsync } from '../../../support/fown.ts';
import { openInTask, PLACEHOLDER } from '../../../support/open-in-task.ts';
import { QUEUE_NOTE, queueForm } from './queue-note.ts';

const QUEUES = new Part(() => require('./message-queue.ts') as typeof import('./message-queue.ts'));

/** As FileDoors.rebuild; with `flags` it is opened with these flags, to be mapped. */
export function rebuild(entry: FileEntry, context: RestoreContext, flags?: number): LocalFd {
  if (!entry.reg) throw new ImageError({ file: 'files.img', reason: `file ${entry.id} has no reg_file_entry` });
  if (isAboutDescriptor(entry.reg)) return openPath(PLACEHOLDER, O.RDONLY, entry.reg.name);
  const queue = notedFile(context, QUEUE_NOTE, entry.id, queueForm);
  return queue ? QUEUES.load().openQueue(entry.reg, queue, context) : openRegular(entry.reg, context, flags);
}

/** As FileDoors.finish. */
export function finish(entry: FileEntry, fd: TaskFd, task: RestoreTask): void {
  const { id, reg } = entry;
  if (!reg) return;
  if (isAboutDescriptor(reg)) openInTask(task, id, nameHere(reg, task.context), reg.flags, reg.pos);
  else if (showsOpener(reg, task)) openAgain(reg, id, task);
  armAsync(fd, reg.flags, task);
}

/** Whether it is a file such as /proc/17/fdinfo/4, which does not exist before the task has its descriptor 4. */
function isAboutDescriptor(reg: RegFileEntry): boolean {
  return /^\/proc\/\d+\/(task\/\d+\/)?fdinfo\/\d+$/.test(reg.name);
}

/** Files of /proc that show what is in a namespace of whoever has opened them: of users, networks, and of IPC. */
const OF_OPENER =
  /^\/proc\/(\d+\/((task\/\d+\/)?status|uid_map|gid_map|projid_map|setgroups|net\/.+)|keys|key-users|sys\/.+|sysvipc\/\w+)$/;

/** Whether a file shows Stasis something else than the task. */
function showsOpener({ name }: RegFileEntry, { context, pid }: RestoreTask): boolean {
  if (!OF_OPENER.test(name)) return false;
  const own = SAVED_IDS.of(context, pid);
  return (['user', 'net', 'ipc'] as const).some((type) => !wasOurs(context, type, own[type]));
}

/** Has the task open a file that Stasis has opened for it. The task may have another root directory, or no /proc. */
function openAgain(reg: RegFileEntry, id: number, task: RestoreTask): void {
  try {
    openInTask(task, id, nameHere(reg, task.context), reg.flags, reg.pos);
  } catch (error) {
    if (!(error instanceof StasisError)) throw error;
    const reason = `it shows the namespaces of Stasis, since the task cannot open it: ${error.reason}`;
    task.context.notice({ task: task.ref, resource: reg.name, reason });
  }
}
