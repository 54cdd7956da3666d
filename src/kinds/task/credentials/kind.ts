/**
 * Credentials: users and groups, capabilities, securebits, no_new_privs, security labels; and state that the kernel
 * resets when they change.
 */

import { Part } from '../../../base/part.ts';
import type { DumpTask, DumpThread, RestoreThread, TaskKind } from '../../../contract/contract.ts';
import { PR } from '../../../kernel/constants/prctl.ts';
import type { Program } from '../../../tracee/program.ts';
import { labelFields, rebuildLabel, requireModule } from './label.ts';
import { rebuildDeathSignal, rebuildDumpable } from './reset.ts';
import { capWords } from './sets.ts';

const REBUILDING = new Part(() => require('./rebuild.ts') as typeof import('./rebuild.ts'));

function captureDumpable(task: DumpTask, program: Program): () => void {
  const dumpable = program.call('prctl', PR.GET_DUMPABLE, 0, 0, 0, 0);
  return () => {
    task.mm.dumpable = program.result(dumpable);
  };
}

function capture(thread: DumpThread, program: Program): () => void {
  const { status, core } = thread;
  const { ids } = thread.context.tree;
  const securebits = program.call('prctl', PR.GET_SECUREBITS, 0, 0, 0, 0);
  const deathSignal = program.space(8);
  program.call('prctl', PR.GET_PDEATHSIG, deathSignal, 0, 0, 0);
  core.thread_core.creds = {
    uid: ids.uidThere(status.uid.real),
    gid: ids.gidThere(status.gid.real),
    euid: ids.uidThere(status.uid.effective),
    egid: ids.gidThere(status.gid.effective),
    suid: ids.uidThere(status.uid.saved),
    sgid: ids.gidThere(status.gid.saved),
    fsuid: ids.uidThere(status.uid.fs),
    fsgid: ids.gidThere(status.gid.fs),
    cap_inh: capWords(status.capInh),
    cap_prm: capWords(status.capPrm),
    cap_eff: capWords(status.capEff),
    cap_bnd: capWords(status.capBnd),
    cap_amb: capWords(status.capAmb ?? 0n),
    secbits: 0,
    groups: status.groups.map((gid) => ids.gidThere(gid)),
    ...labelFields(thread),
    ...(status.noNewPrivs ? { no_new_privs: 1 } : {}),
  };
  return () => {
    if (core.thread_core.creds) core.thread_core.creds.secbits = program.result(securebits);
    const signal = program.view(deathSignal, 4).getInt32(0, true);
    if (signal !== 0) core.thread_core.pdeath_sig = signal;
  };
}

/** Restores what the change of credentials has reset, then the label, which may forbid the thread everything else. */
function rebuildLast(thread: RestoreThread): void {
  rebuildDeathSignal(thread);
  const creds = thread.core.thread_core?.creds;
  if (creds) rebuildLabel(thread, creds);
}

/**
 * Credentials. The kind is the last one in phase `creds`, since the task has few rights afterwards.
 */
export const credentials: TaskKind = {
  name: 'credentials',
  after: ['identity', 'scheduling', 'limits', 'seccomp'],
  tree: { prepare: requireModule },
  capture: captureDumpable,
  rebuild: { last: rebuildDumpable },
  thread: { capture, rebuild: { creds: (thread) => REBUILDING.load().rebuildCredentials(thread), last: rebuildLast } },
};
