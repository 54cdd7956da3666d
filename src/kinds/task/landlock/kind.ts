/**
 * Landlock, a sandbox that a thread has put itself into. The kernel shows neither the sandbox nor its rules, so it
 * cannot be carried; but a program must not be restored without its sandbox unnoticed. A thread in a sandbox may not
 * access processes outside of it (hook_ptrace_access_check()), which makes it detectable: the thread calls kcmp(2),
 * which checks that right and changes nothing.
 */
import type { HostPid } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import { logDebug } from '../../../base/log.ts';
import type { DumpContext, DumpTask, DumpThread, TaskKind } from '../../../contract/contract.ts';
import { KeyedSlot, Slot } from '../../../contract/slots.ts';
import { KCMP } from '../../../kernel/constants/files.ts';
import { PR } from '../../../kernel/constants/prctl.ts';
import { CAP_NAMES, CAPABILITY_VERSION_3, LANDLOCK_CREATE_RULESET_VERSION } from '../../../kernel/constants/tasks.ts';
import { CapHeader, encodeCapSets } from '../../../kernel/layouts/tasks.ts';
import { readLabel } from '../../../kernel/proc/label.ts';
import { readProcLink } from '../../../kernel/proc/read.ts';
import { ERRNO, trySyscall } from '../../../kernel/syscall.ts';
import { ownLabel } from '../../../support/own-label.ts';
import type { Program } from '../../../tracee/program.ts';
import type { Seed } from '../../../tracee/seed.ts';
import { SEEDS } from '../../../tracee/seeds.ts';

const SYS_PTRACE = BigInt(CAP_NAMES.indexOf('SYS_PTRACE'));

/** Processes for threads to access, by user and group; each has this user and group and no capabilities. */
type Sights = Map<string, Seed>;

/** Whether this kernel has Landlock. */
const SUPPORTED = new Slot(
  (_: DumpContext) => trySyscall('landlock_create_ruleset', 0, 0, LANDLOCK_CREATE_RULESET_VERSION) > 0,
);

const USER_NAMESPACES = new KeyedSlot((_: DumpContext, pid: HostPid | 'self') => readProcLink(pid, 'ns/user'));

function capture(thread: DumpThread, program: Program): (() => void) | undefined {
  const { context, tid } = thread;
  if (!SUPPORTED.of(context)) return;
  // In other cases the access might be refused for other reasons.
  if (!isInOurNamespaces(thread) || isConfined(thread)) return;
  const pid = mayLookAtAll(thread) ? process.pid : sightFor(thread).tracee.pid;
  const look = program.attempt('kcmp', pid, pid, KCMP.VM, 0, 0);
  return () => {
    const result = program.result(look);
    if (result === -ERRNO.EPERM) throw sandboxed(thread);
    // For example on a kernel without kcmp.
    if (result !== 0) logDebug(`landlock: whether task ${tid} is in a sandbox cannot be told (${result})`);
  };
}

/**
 * Whether the thread is in our user and PID namespaces. In another user namespace the same IDs are other users, and in
 * another PID namespace the same PIDs other processes.
 */
function isInOurNamespaces({ process: { pid }, status, context }: DumpThread): boolean {
  if ((status.nsPid?.length ?? 1) > 1) return false;
  return USER_NAMESPACES.of(context, pid) === USER_NAMESPACES.of(context, 'self');
}

function isConfined({ tid, context }: DumpThread): boolean {
  return ownLabel(context) !== undefined && readLabel(tid)?.unconfined === false;
}

function mayLookAtAll({ status }: DumpThread): boolean {
  return ((status.capEff >> SYS_PTRACE) & 1n) !== 0n;
}

/** A process that the thread may access if only its IDs and capabilities count. */
function sightFor({ status, context }: DumpThread): Seed {
  const [uid, gid] = [status.uid.real, status.gid.real];
  const sights = SIGHTS.of(context);
  const known = sights.get(`${uid}:${gid}`);
  if (known) return known;
  const seed = SEEDS.load().Seed.anywhere();
  sights.set(`${uid}:${gid}`, seed);
  seed.remote.do((program) => {
    const header = CapHeader.encode({ version: CAPABILITY_VERSION_3, pid: 0 });
    const none = encodeCapSets({ effective: 0n, permitted: 0n, inheritable: 0n });
    program.call('setresgid', gid, gid, gid);
    program.call('setresuid', uid, uid, uid);
    program.call('capset', program.data(header), program.data(none));
    program.call('prctl', PR.SET_DUMPABLE, 1, 0, 0, 0);
  });
  return seed;
}

const SIGHTS = new Slot((context: DumpContext) => {
  const sights: Sights = new Map();
  context.undo(() => clear(sights));
  return sights;
});

function clear(sights: Sights): void {
  for (const seed of sights.values()) seed[Symbol.dispose]();
  sights.clear();
}

function sandboxed({ ref }: DumpThread): StasisError {
  return new StasisError({
    kind: 'unsupported',
    code: 'LANDLOCK',
    task: ref,
    resource: 'Landlock',
    reason: 'it is in a sandbox (it may not look at processes outside), whose rules the kernel tells nobody',
    remedy: 'start it without its sandbox',
  });
}

/** Landlock. All threads have made their call when the first task is drained. */
export const landlock: TaskKind = {
  name: 'landlock',
  drain: ({ context }: DumpTask) => clear(SIGHTS.of(context)),
  thread: { capture },
};
