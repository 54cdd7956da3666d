/**
 * NUMA memory policies of threads (set_mempolicy(2)) and of mappings (mbind(2)). CRIU does not carry them.
 */

import { asStasisError } from '../../../base/errors.ts';
import { logDebug } from '../../../base/log.ts';
import { decodeText } from '../../../base/text.ts';
import type {
  DumpContext,
  DumpTask,
  DumpThread,
  Json,
  RestoreTask,
  RestoreThread,
  TaskKind,
} from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { MPOL_MF_MOVE } from '../../../kernel/constants/memory.ts';
import { describeErrno } from '../../../kernel/errno.ts';
import { readProc, readSystem } from '../../../kernel/proc/read.ts';
import type { Program } from '../../../tracee/program.ts';
import { DEFAULT, decodeMask, encodeMask, MASK_BITS, MASK_BYTES, type Policy, policyIn } from './policy.ts';

function capture(thread: DumpThread, program: Program): () => void {
  const mode = program.space(8);
  const mask = program.space(MASK_BYTES);
  const asked = program.attempt('get_mempolicy', mode, mask, MASK_BITS, 0, 0);
  return () => {
    // A kernel without NUMA answers ENOSYS.
    const own = program.result(asked) < 0 ? 0 : program.view(mode, 4).getInt32(0, true);
    if (own !== DEFAULT.mode)
      thread.ownState.numa = encode({ mode: own, nodes: decodeMask(program.bytes(mask, MASK_BYTES)) });
  };
}

function encode({ mode, nodes }: Policy): { readonly [key: string]: Json } {
  return { mode, nodes: nodes.toString(16) };
}

/**
 * Captures policies of mappings, if there is more than one node. For a mapping without a policy the kernel shows the
 * task's.
 */
function drain(task: DumpTask): void {
  if (task.captured.vm || !NODES.of(task.context)) return;
  const own = decode(task.ownState.numa) ?? DEFAULT;
  const mappings: Json[] = [];
  for (const line of decodeText(readProc(task.pid, 'numa_maps')).split('\n')) {
    const policy = policyIn(line);
    if (!policy || (policy.mode === own.mode && policy.nodes === own.nodes)) continue;
    mappings.push({ start: policy.start, ...encode(policy) });
  }
  if (mappings.length > 0) task.ownState.numaMappings = mappings;
}

const NODES = new Slot(hasNodes);

/** Whether the machine has more than one NUMA node. */
function hasNodes(_: DumpContext): boolean {
  try {
    return decodeText(readSystem('/sys/devices/system/node/online')).trim() !== '0';
  } catch (error) {
    logDebug(`numa: ${asStasisError(error).message}`);
    return false; // a kernel without NUMA
  }
}

/** Reads a policy. Nothing about its form is trusted, since anybody may have written the file. */
function decode(value: unknown): Policy | undefined {
  if (value === null || typeof value !== 'object') return undefined;
  const { mode, nodes } = value as { mode?: unknown; nodes?: unknown };
  if (typeof mode !== 'number' || typeof nodes !== 'string' || !/^[0-9a-f]{1,256}$/.test(nodes)) return undefined;
  return { mode, nodes: BigInt(`0x${nodes}`) };
}

function rebuild(thread: RestoreThread): void {
  const policy = decode(thread.ownState.numa);
  if (!policy) return;
  const program = thread.batch.reserve(1, MASK_BYTES);
  const set = program.attempt('set_mempolicy', policy.mode, program.data(encodeMask(policy.nodes)), MASK_BITS);
  thread.batch.after((done) => warn(thread, done.result(set)));
}

function rebuildMappings(task: RestoreTask): void {
  const list = Array.isArray(task.ownState.numaMappings) ? (task.ownState.numaMappings as readonly Json[]) : [];
  if (list.length === 0) return;
  const lengths = new Map(task.mm.vmas.map(({ start, end }) => [Number(start), Number(end - start)]));
  for (const value of list) {
    const policy = decode(value);
    const { start } = (value ?? {}) as { start?: unknown };
    const length = typeof start === 'number' ? lengths.get(start) : undefined;
    if (!policy || typeof start !== 'number' || length === undefined) continue;
    const program = task.batch.reserve(1, MASK_BYTES);
    const mask = program.data(encodeMask(policy.nodes));
    const bound = program.attempt('mbind', start, length, policy.mode, mask, MASK_BITS, MPOL_MF_MOVE);
    task.batch.after((done) => warn(task, done.result(bound)));
  }
}

/**
 * Logs a warning if a policy cannot be set. This machine may have other nodes, and the placement of memory is no reason
 * to fail.
 */
function warn(thread: RestoreThread, result: number): void {
  if (result >= 0) return;
  thread.context.notice({
    task: thread.ref,
    reason: `a policy of NUMA memory cannot be set: ${describeErrno(result)}`,
  });
}

/**
 * NUMA memory policies. The kind runs after `memory`, since mappings must exist before they get a policy.
 */
export const numa: TaskKind = {
  name: 'numa',
  after: ['memory'],
  drain,
  rebuild: { mapped: rebuildMappings },
  thread: { capture, rebuild: { state: rebuild } },
};
