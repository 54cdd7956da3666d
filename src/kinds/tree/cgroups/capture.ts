/** Captures which set of cgroups a thread is in. Most are in the cgroups of the process that dumps. */
import { Part } from '../../../base/part.ts';
import { decodeText } from '../../../base/text.ts';
import type { DumpContext, DumpThread } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { NAMESPACE_IDS } from '../../../images/namespace-ids.ts';
import { readProc } from '../../../kernel/proc/read.ts';
import { SEEN_NAMESPACES } from '../../../namespaces/seen.ts';

const SAVING = new Part(() => require('./save.ts') as typeof import('./save.ts'));

/**
 * The ID of the set of the process that dumps, 1 in all images. It is not described: a restore leaves tasks of it in
 * its own cgroups.
 */
const DUMPER = 1;

/** Sets by the cgroup namespace and the text of /proc/PID/cgroup; ours is the first. */
const SETS = new Slot(
  (_: DumpContext) => new Map([[keyOf(NAMESPACE_IDS.cgroup_ns_id, readProc('self', 'cgroup')), DUMPER]]),
);

function keyOf(namespaceId: number, bytes: Uint8Array): string {
  return `${namespaceId} ${decodeText(bytes)}`;
}

/** Captures the set of a thread. No image is written as long as all threads are in our own cgroups. */
export function capture(thread: DumpThread): undefined {
  const { context, process, tid } = thread;
  const known = SETS.of(context);
  const namespace = SEEN_NAMESPACES.of(context.tree).of(process.pid, 'cgroup');
  const bytes = readProc(process.pid, `task/${tid}/cgroup`);
  // Most threads have the same text, and so the same set, as another.
  const key = keyOf(namespace?.id ?? NAMESPACE_IDS.cgroup_ns_id, bytes);
  const id = known.get(key) ?? SAVING.load().newSet(context, bytes, namespace);
  known.set(key, id);
  thread.core.thread_core.cg_set = id;
}
