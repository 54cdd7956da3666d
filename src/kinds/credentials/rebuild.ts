/** Taking on saved credentials: a task that begins as root with everything, and must not lose a privilege too early. */
import { StasisError } from '../../base/errors.ts';
import { logWarn } from '../../base/log.ts';
import type { CredsEntry } from '../../images/schema/task.ts';
import { PR, PR_CAP_AMBIENT, SECBIT } from '../../kernel/constants/prctl.ts';
import { CAP_NAMES, CAPABILITY_VERSION_3 } from '../../kernel/constants/tasks.ts';
import { CapHeader, type CapSets, encodeCapSets } from '../../kernel/layouts/tasks.ts';
import { readProc } from '../../kernel/proc/read.ts';
import { parseStatus } from '../../kernel/proc/status.ts';
import { describeErrno } from '../../kernel/syscall.ts';
import type { RestoreTask } from '../contract.ts';
import { capMask, capNumbers } from './sets.ts';

/** Capabilities there may be. Those the kernel does not know are in no set of its, and cannot be dropped. */
const ALL_CAPS = (1n << 64n) - 1n;

/** Groups, users, capabilities, securebits, and last no_new_privs, in the order in which each is still allowed. */
export function rebuildCredentials(task: RestoreTask): void {
  const creds = task.core.thread_core?.creds;
  if (!creds) return;
  const seed = seedCaps(task);
  requireCaps(task, creds, seed);
  becomeUser(task, creds);
  // What may be inherited must be in the bounding set, or have been, when it is raised.
  const inheritable = capMask(creds.cap_inh);
  if (inheritable !== 0n) setCaps(task, { effective: seed.permitted, permitted: seed.permitted, inheritable });
  for (const cap of capNumbers(capMask(creds.cap_amb))) {
    task.batch.call('prctl', PR.CAP_AMBIENT, PR_CAP_AMBIENT.RAISE, cap, 0, 0);
  }
  for (const cap of capNumbers(seed.bounding & ~capMask(creds.cap_bnd))) {
    task.batch.call('prctl', PR.CAPBSET_DROP, cap, 0, 0, 0);
  }
  task.batch.call('prctl', PR.SET_SECUREBITS, creds.secbits, 0, 0, 0);
  setCaps(task, { effective: capMask(creds.cap_eff), permitted: capMask(creds.cap_prm), inheritable });
  if (creds.no_new_privs) task.batch.call('prctl', PR.SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

/** Groups first, users last; no capability is lost over it. */
function becomeUser(task: RestoreTask, creds: CredsEntry): void {
  const { batch } = task;
  const groups = new Uint8Array(new Uint32Array(creds.groups).buffer);
  const program = batch.reserve(6, groups.length);
  program.call('setgroups', creds.groups.length, groups.length > 0 ? program.data(groups) : 0);
  program.call('prctl', PR.SET_SECUREBITS, SECBIT.NO_SETUID_FIXUP, 0, 0, 0);
  program.call('setresgid', creds.gid, creds.egid, creds.sgid);
  program.attempt('setfsgid', creds.fsgid); // these two answer the id before, whatever they did
  program.call('setresuid', creds.uid, creds.euid, creds.suid);
  program.attempt('setfsuid', creds.fsuid);
}

/** The sets of the seed, which nothing has changed so far. */
function seedCaps(task: RestoreTask): { permitted: bigint; bounding: bigint } {
  const { capPrm, capBnd } = parseStatus(readProc(task.pid, 'status'));
  return { permitted: capPrm, bounding: capBnd };
}

/** What the task had and we cannot give it. @throws StasisError kind 'permission' */
function requireCaps(task: RestoreTask, creds: CredsEntry, seed: { permitted: bigint; bounding: bigint }): void {
  const missing = (capMask(creds.cap_prm) | capMask(creds.cap_inh)) & ~(seed.permitted | seed.bounding);
  if (missing !== 0n) {
    throw new StasisError({
      kind: 'permission',
      task: task.ref,
      resource: capNumbers(missing).map(capName).join(', '),
      reason: 'the process had capabilities that whoever restores it does not have',
      remedy: 'restore with at least the capabilities of the process',
    });
  }
  const narrower = capMask(creds.cap_bnd) & ~seed.bounding & ALL_CAPS;
  if (narrower === 0n) return;
  const names = capNumbers(narrower).map(capName).join(', ');
  logWarn('credentials', `task ${task.pid}: ${names} cannot be put back into the bounding set: it is not in ours`);
}

function capName(cap: number): string {
  return `CAP_${CAP_NAMES[cap] ?? cap}`;
}

function setCaps(task: RestoreTask, sets: CapSets): void {
  const header = CapHeader.encode({ version: CAPABILITY_VERSION_3, pid: 0 });
  const program = task.batch.reserve(1, 40);
  const result = program.attempt('capset', program.data(header), program.data(encodeCapSets(sets)));
  task.batch.after((done) => {
    const errno = -done.result(result);
    if (errno <= 0) return;
    throw new StasisError({
      kind: 'permission',
      task: task.ref,
      resource: `capabilities (permitted 0x${sets.permitted.toString(16)}, inheritable 0x${sets.inheritable.toString(16)})`,
      reason: `cannot be set: ${describeErrno(errno)}`,
    });
  });
}
