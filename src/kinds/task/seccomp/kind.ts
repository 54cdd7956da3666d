/**
 * Seccomp: strict mode, and filters.
 *
 * Both restrict what a thread may do, so they are suspended while Stasis traces it (tracee/seccomp.ts): in a dump by
 * the engine, in a restore here, before anything is installed. They take effect when the thread is released. Filters
 * are installed before the credentials, since that needs CAP_SYS_ADMIN or no_new_privs, and the saved thread may have
 * neither.
 */

import { StasisError } from '../../../base/errors.ts';
import type {
  DumpContext,
  DumpTask,
  DumpThread,
  RestoreContext,
  RestoreTask,
  RestoreThread,
  SeenTask,
  SeenThread,
  SeenTree,
  TaskKind,
} from '../../../contract/contract.ts';
import { KeyedSlot, Slot } from '../../../contract/slots.ts';
import { Images } from '../../../images/kinds.ts';
import type { CoreEntry } from '../../../images/schema/task.ts';
import { PR } from '../../../kernel/constants/prctl.ts';
import { SECCOMP_FILTER_FLAG, SECCOMP_MODE, SECCOMP_SET_MODE } from '../../../kernel/constants/seccomp.ts';
import { CAP_NAMES } from '../../../kernel/constants/tasks.ts';
import { SockFilter } from '../../../kernel/layouts/seccomp.ts';
import { readProc } from '../../../kernel/proc/read.ts';
import { parseStatus } from '../../../kernel/proc/status.ts';
import { describeErrno } from '../../../kernel/syscall.ts';
import type { Program } from '../../../tracee/program.ts';
import { PTRACE_O } from '../../../tracee/ptrace.ts';
import { seccompFilter, seccompFlags, suspendSeccomp } from '../../../tracee/seccomp.ts';
import {
  asksSupervisor,
  type Chain,
  chainsForImage,
  type Filter,
  FilterTable,
  planInstallation,
  readChain,
} from './chains.ts';

const { TSYNC } = SECCOMP_FILTER_FLAG;
const SYS_ADMIN = BigInt(CAP_NAMES.indexOf('SYS_ADMIN'));

// ------------------------------------------------------------------------------------------------------- dumping

function modeOf({ status }: SeenThread): number {
  return status.seccomp ?? SECCOMP_MODE.DISABLED;
}

/** What Stasis itself may do, and how it is restricted. */
const OWN_STATUS = new Slot((_: SeenTree) => parseStatus(readProc('self', 'status')));

/** Only a process with CAP_SYS_ADMIN that is not restricted by seccomp itself may suspend and read seccomp. */
function obstacles(task: SeenTask): StasisError[] {
  const { seccomp, capEff } = OWN_STATUS.of(task.tree);
  const free = (seccomp ?? SECCOMP_MODE.DISABLED) === SECCOMP_MODE.DISABLED;
  // Reading the status of a thousand threads takes time, so it is done only if it can matter.
  if (free && (capEff >> SYS_ADMIN) & 1n) return [];
  const restricted = task.threads.find((thread) => modeOf(thread) !== SECCOMP_MODE.DISABLED);
  if (!restricted) return [];
  const unable = {
    kind: 'permission',
    code: 'SECCOMP_PERMISSION',
    task: restricted.ref,
    resource: describe(restricted),
  } as const;
  if (!free) {
    const reason = 'Stasis is restricted by seccomp itself, and may not suspend it for others';
    return [new StasisError({ ...unable, reason, remedy: 'run Stasis without a seccomp profile' })];
  }
  return [new StasisError({ ...unable, reason: 'it takes CAP_SYS_ADMIN to read it', remedy: 'run Stasis as root' })];
}

function describe({ status }: SeenThread): string {
  const { seccomp, seccompFilters: count } = status;
  if (seccomp === SECCOMP_MODE.STRICT) return 'seccomp (strict mode)';
  return count === undefined ? 'seccomp filters' : `seccomp (${count} ${count === 1 ? 'filter' : 'filters'})`;
}

function capture({ threads, context }: DumpTask, _program: Program): undefined {
  const table = FILTERS.of(context);
  if (threads.every((thread) => modeOf(thread) === SECCOMP_MODE.DISABLED)) return;
  const chains = chainsForImage(threads.map(chainOf));
  threads.forEach((thread, i) => {
    const { thread_core: core } = thread.core;
    const chain = chains[i];
    if (chain) {
      core.seccomp_mode = SECCOMP_MODE.FILTER;
      core.seccomp_filter = table.add(chain);
    } else if (modeOf(thread) === SECCOMP_MODE.STRICT) {
      core.seccomp_mode = SECCOMP_MODE.STRICT;
    }
  });
}

/** The content of `seccomp.img`, which is written even if there are no filters. */
const FILTERS = new Slot((context: DumpContext) => {
  const table = new FilterTable();
  context.append(Images.seccomp, { seccomp_filters: table.entries });
  return table;
});

/** The filters of a thread; undefined if it has none. @throws StasisError for a filter with SECCOMP_RET_USER_NOTIF */
function chainOf(thread: DumpThread): Chain | undefined {
  if (modeOf(thread) !== SECCOMP_MODE.FILTER) return undefined;
  const chain: Filter[] = [];
  for (let code = seccompFilter(thread.tid, 0); code; code = seccompFilter(thread.tid, chain.length)) {
    chain.push({ code, flags: seccompFlags(thread.tid, chain.length) });
  }
  if (!chain.some(asksSupervisor)) return chain;
  throw new StasisError({
    kind: 'unsupported',
    code: 'SECCOMP_SUPERVISED',
    task: thread.ref,
    resource: describe(thread),
    reason:
      'a filter hands system calls over to a supervisor (SECCOMP_RET_USER_NOTIF), and its listener cannot be made again',
    remedy: 'start it without that part of the profile',
  });
}

// ----------------------------------------------------------------------------------------------------- restoring

/** The saved seccomp mode of a thread. Images of CRIU before 3.14 hold it for the whole process. */
function savedMode({ tc, thread_core: thread }: CoreEntry): number {
  return thread?.seccomp_mode ?? tc?.old_seccomp_mode ?? SECCOMP_MODE.DISABLED;
}

function savedChain({ core, context }: RestoreThread): Chain {
  if (savedMode(core) !== SECCOMP_MODE.FILTER) return [];
  const { tc, thread_core: thread } = core;
  if (thread?.seccomp_mode !== undefined) return CHAINS.of(context, thread.seccomp_filter ?? 0);
  const chain = CHAINS.of(context, tc?.old_seccomp_filter ?? 0);
  return chain.map(({ code, flags }) => ({ code, flags: flags | TSYNC }));
}

/** The chains of the image, by the index of their first filter. Threads with the same index get the same object. */
const CHAINS = new KeyedSlot((context: RestoreContext, first: number): Chain => {
  const [image] = context.images.read(Images.seccomp);
  return readChain(image?.seccomp_filters ?? [], first);
});

/** The filters the threads of a process install: shared ones, and each thread's own by its TID. */
const INSTALLATIONS = new KeyedSlot((_: RestoreContext, { threads }: RestoreTask) => {
  const { shared, own } = planInstallation(threads.map(savedChain));
  return { shared, own: new Map(threads.map(({ tid }, i) => [tid, own[i] ?? []])) };
});

/**
 * Runs when all threads exist. Suspends seccomp for all of them until they are released, and installs the shared
 * filters.
 */
function rebuildShared(task: RestoreTask): void {
  const { threads, context } = task;
  if (threads.every(({ core }) => savedMode(core) === SECCOMP_MODE.DISABLED)) return;
  for (const { tracee } of threads) suspendSeccomp(tracee.pid, PTRACE_O.EXITKILL);
  OWN_FILTERS.of(context);
  for (const filter of INSTALLATIONS.of(task.context, task).shared) install(task, filter, TSYNC);
}

/** Filters that restrict Stasis also restrict all processes it makes. The notice is given once. */
const OWN_FILTERS = new Slot((context: RestoreContext) => {
  const { seccompFilters: count = 0 } = parseStatus(readProc('self', 'status'));
  if (count === 0) return;
  context.notice({ reason: `the ${count} seccomp filters Stasis itself runs under are added to those of every task` });
});

function rebuildOwn(thread: RestoreThread): void {
  const mode = savedMode(thread.core);
  if (mode === SECCOMP_MODE.STRICT) thread.batch.call('prctl', PR.SET_SECCOMP, SECCOMP_MODE.STRICT, 0, 0, 0);
  if (mode !== SECCOMP_MODE.FILTER) return;
  for (const filter of INSTALLATIONS.of(thread.process.context, thread.process).own.get(thread.tid) ?? [])
    install(thread, filter, 0);
}

function install(thread: RestoreThread, { code, flags }: Filter, extra: number): void {
  const program = thread.batch.reserve(1, code.length + 16);
  // struct sock_fprog { u16 len; struct sock_filter *filter; }
  const length = BigInt(code.length / SockFilter.size);
  const fprog = program.data(new Uint8Array(new BigUint64Array([length, BigInt(program.data(code))]).buffer));
  const result = program.attempt('seccomp', SECCOMP_SET_MODE.FILTER, (flags & ~TSYNC) | extra, fprog);
  thread.batch.after((done) => {
    const outcome = done.result(result);
    if (outcome === 0) return;
    const reason = outcome > 0 ? `thread ${outcome} has filters of its own` : describeErrno(-outcome);
    throw new StasisError({
      kind: 'kernel',
      task: thread.ref,
      resource: 'seccomp filter',
      reason: `cannot be installed: ${reason}`,
    });
  });
}

/**
 * Seccomp. In phase `creds` the kind runs before the credentials.
 */
export const seccomp: TaskKind = {
  name: 'seccomp',
  after: ['signals', 'limits'],
  obstacles,
  capture,
  rebuild: { state: rebuildShared },
  thread: { rebuild: { creds: rebuildOwn } },
};
