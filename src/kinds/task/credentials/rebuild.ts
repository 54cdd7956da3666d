/**
 * Sets saved credentials in a task that starts as root with all capabilities and must not lose one before its last use.
 */
import type { HostPid } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import type { RestoreContext, RestoreThread } from '../../../contract/contract.ts';
import { KeyedSlot } from '../../../contract/slots.ts';
import type { CredsEntry } from '../../../images/schema/task.ts';
import { PR, PR_CAP_AMBIENT, SECBIT } from '../../../kernel/constants/prctl.ts';
import { CAP_NAMES, CAPABILITY_VERSION_3 } from '../../../kernel/constants/tasks.ts';
import { CapHeader, type CapSets, encodeCapSets } from '../../../kernel/layouts/tasks.ts';
import { readProc } from '../../../kernel/proc/read.ts';
import { parseStatus } from '../../../kernel/proc/status.ts';
import { describeErrno } from '../../../kernel/syscall.ts';
import { INSIDE, type Inside } from '../../../namespaces/user/inside.ts';
import { NO_ID } from '../../../support/user-ids.ts';
import { capMask, capNumbers } from './sets.ts';

/** All possible capabilities. Those that the kernel does not know are in none of its sets, and cannot be dropped. */
const ALL_CAPS = (1n << 64n) - 1n;

/**
 * Sets groups, users, capabilities, securebits, and last no_new_privs, in an order in which each step is still
 * permitted.
 */
export function rebuildCredentials(thread: RestoreThread): void {
  const creds = thread.core.thread_core?.creds;
  if (!creds) return;
  const seed = seedState(thread);
  requireCaps(thread, creds, seed);
  if (seed.noNewPrivs && !creds.no_new_privs) {
    const reason = 'it can gain no privileges any more, as Stasis cannot (no_new_privs)';
    thread.context.notice({ task: thread.ref, reason });
  }
  becomeUser(thread, creds);
  // The inheritable set can only be raised while its capabilities are in the bounding set.
  const inheritable = capMask(creds.cap_inh);
  if (inheritable !== 0n) setCaps(thread, { effective: seed.permitted, permitted: seed.permitted, inheritable });
  for (const cap of capNumbers(capMask(creds.cap_amb))) {
    thread.batch.call('prctl', PR.CAP_AMBIENT, PR_CAP_AMBIENT.RAISE, cap, 0, 0);
  }
  for (const cap of capNumbers(seed.bounding & ~capMask(creds.cap_bnd))) {
    thread.batch.call('prctl', PR.CAPBSET_DROP, cap, 0, 0, 0);
  }
  thread.batch.call('prctl', PR.SET_SECUREBITS, creds.secbits, 0, 0, 0);
  setCaps(thread, { effective: capMask(creds.cap_eff), permitted: capMask(creds.cap_prm), inheritable });
  if (creds.no_new_privs) thread.batch.call('prctl', PR.SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

/** Sets groups first and users last, without losing a capability. */
function becomeUser(thread: RestoreThread, saved: CredsEntry): void {
  const { batch } = thread;
  const inside = INSIDE.of(thread.context, thread.process.pid);
  const creds = inside ? idsThere(thread, saved, inside) : saved;
  const groups = new Uint8Array(new Uint32Array(creds.groups).buffer);
  const program = batch.reserve(6, groups.length);
  // Those that nobody may change the process has inherited.
  if (!inside?.groups) program.call('setgroups', creds.groups.length, groups.length > 0 ? program.data(groups) : 0);
  program.call('prctl', PR.SET_SECUREBITS, SECBIT.NO_SETUID_FIXUP, 0, 0, 0);
  program.call('setresgid', creds.gid | 0, creds.egid | 0, creds.sgid | 0);
  program.attempt('setfsgid', creds.fsgid); // setfsgid and setfsuid return the previous ID, whether they succeed or not
  program.call('setresuid', creds.uid | 0, creds.euid | 0, creds.suid | 0);
  program.attempt('setfsuid', creds.fsuid);
}

/**
 * Credentials with the IDs of the thread's user namespace. One that has none there becomes -1, which leaves what the
 * thread has: its process was born with it.
 */
function idsThere(thread: RestoreThread, creds: CredsEntry, { maps }: Inside): CredsEntry {
  const { ids } = thread.context;
  const uid = (id: number): number => (id === NO_ID ? id : maps.uidThere(ids.uidHere(id)));
  const gid = (id: number): number => (id === NO_ID ? id : maps.gidThere(ids.gidHere(id)));
  return {
    ...creds,
    uid: uid(creds.uid),
    euid: uid(creds.euid),
    suid: uid(creds.suid),
    fsuid: uid(creds.fsuid),
    gid: gid(creds.gid),
    egid: gid(creds.egid),
    sgid: gid(creds.sgid),
    fsgid: gid(creds.fsgid),
    groups: creds.groups.map(gid),
  };
}

/** The capability sets that a new task inherits from Stasis. */
interface SeedState {
  readonly permitted: bigint;
  readonly bounding: bigint;
  readonly noNewPrivs: boolean | undefined;
}

/** The sets before any change; all threads of a process have the same. */
function seedState({ process, context }: RestoreThread): SeedState {
  return SEED_STATES.of(context, process.tracee.pid);
}

const SEED_STATES = new KeyedSlot((_: RestoreContext, pid: HostPid): SeedState => {
  const { capPrm, capBnd, noNewPrivs } = parseStatus(readProc(pid, 'status'));
  return { permitted: capPrm, bounding: capBnd, noNewPrivs };
});

/** Checks that the seed has all capabilities the task had. @throws StasisError kind 'permission' */
function requireCaps(thread: RestoreThread, creds: CredsEntry, seed: SeedState): void {
  const missing = (capMask(creds.cap_prm) | capMask(creds.cap_inh)) & ~(seed.permitted | seed.bounding);
  if (missing !== 0n) {
    throw new StasisError({
      kind: 'permission',
      code: 'CAPABILITIES',
      task: thread.ref,
      resource: capNumbers(missing).map(capName).join(', '),
      reason: 'the process had capabilities that whoever restores it does not have',
      remedy: 'restore with at least the capabilities of the process',
    });
  }
  const narrower = capMask(creds.cap_bnd) & ~seed.bounding & ALL_CAPS;
  if (narrower === 0n) return;
  const names = capNumbers(narrower).map(capName).join(', ');
  const reason = 'cannot be put back into the bounding set: not in that of Stasis';
  thread.context.notice({ task: thread.ref, resource: names, reason });
}

function capName(cap: number): string {
  return `CAP_${CAP_NAMES[cap] ?? cap}`;
}

function setCaps(thread: RestoreThread, sets: CapSets): void {
  const header = CapHeader.encode({ version: CAPABILITY_VERSION_3, pid: 0 });
  const program = thread.batch.reserve(1, 40);
  const result = program.attempt('capset', program.data(header), program.data(encodeCapSets(sets)));
  thread.batch.after((done) => {
    const errno = -done.result(result);
    if (errno <= 0) return;
    throw new StasisError({
      kind: 'permission',
      code: 'CREDENTIALS',
      task: thread.ref,
      resource: `capabilities (permitted 0x${sets.permitted.toString(16)}, inheritable 0x${sets.inheritable.toString(16)})`,
      reason: `cannot be set: ${describeErrno(errno)}`,
    });
  });
}
