/** Working directory, root directory and umask. */

import { Part } from '../../../base/part.ts';
import type { DumpTask, RestoreTask, TaskKind } from '../../../contract/contract.ts';
import { Images } from '../../../images/kinds.ts';
import { O } from '../../../kernel/constants/files.ts';
import { closeAll, handOver } from '../../../tracee/handover.ts';

const REMAP = new Part(() => require('../../../paths/remap.ts') as typeof import('../../../paths/remap.ts'));

function capture(task: DumpTask): () => void {
  return () => {
    const { openFiles: files, images } = task.context;
    const entry = {
      cwd_id: files.idOfPath(task.ref, `/proc/${task.pid}/cwd`, O.RDONLY),
      root_id: files.idOfPath(task.ref, `/proc/${task.pid}/root`, O.RDONLY),
      umask: task.status.umask ?? 0o22,
    };
    images.write(Images.fs, task.tree.pids.saved(task.pid), [entry]);
  };
}

/**
 * Sets root and working directory. The task has no descriptors of its own yet, so the directories may arrive under any
 * number. They are opened with O_PATH, so that watchers (inotify) get no events.
 */
function rebuild(task: RestoreTask): void {
  const { fs, context, seed, batch } = task;
  if (!fs || task.shares.fs) return;
  const [root = 0, cwd = 1] = handOver(seed, batch, [
    context.open(fs.root_id, O.PATH),
    context.open(fs.cwd_id, O.PATH),
  ]);
  for (const id of new Set([fs.root_id, fs.cwd_id])) {
    // Tasks that were dead at the dump have directories in /proc only.
    if (context.fileEntries.get(id)?.reg?.name.startsWith('/proc/')) REMAP.load().letIn(id, task.tracee.pid, context);
  }
  const program = batch.reserve(8, 16);
  const here = program.data(new Uint8Array([0x2e, 0]));
  program.call('fchdir', root);
  program.call('chroot', here);
  program.call('fchdir', cwd);
  closeAll(seed, batch);
  if (fs.umask !== undefined) program.call('umask', fs.umask);
}

/** Working directory, root directory and umask. */
export const fs: TaskKind = { name: 'fs', capture, rebuild: { files: rebuild } };
