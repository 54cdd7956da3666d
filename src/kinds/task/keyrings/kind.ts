/**
 * Keyrings (keyrings(7)) of a thread and of a process. Their contents cannot be carried, since many keys cannot be
 * read, so a warning is logged. The session keyring is not asked for, since asking would give a task without one a new
 * one.
 */
import type { DumpTask, DumpThread, TaskKind } from '../../../contract/contract.ts';
import { KEY_SPEC, KEYCTL } from '../../../kernel/constants/tasks.ts';
import type { Program } from '../../../tracee/program.ts';

/** Adds a call that asks for a keyring without making one. A new thread or process has none. */
function ask(thread: DumpThread, program: Program, spec: number, whose: string): () => void {
  const asked = program.attempt('keyctl', KEYCTL.GET_KEYRING_ID, spec, 0);
  return () => {
    const id = program.result(asked);
    if (id <= 0) return;
    const serial = (id >>> 0).toString(16).padStart(8, '0');
    const reason = `the keys in the keyring of its ${whose} (${serial} in /proc/keys) are not carried`;
    thread.context.notice({ task: thread.ref, reason });
  };
}

/** Keyrings. */
export const keyrings: TaskKind = {
  name: 'keyrings',
  capture: (task: DumpTask, program) => ask(task, program, KEY_SPEC.PROCESS, 'process'),
  thread: { capture: (thread: DumpThread, program) => ask(thread, program, KEY_SPEC.THREAD, 'thread') },
};
