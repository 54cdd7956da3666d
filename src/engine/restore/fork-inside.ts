/** Makes the init of a PID namespace that belongs to another user namespace than that of its parent. */
import type { RestoreContext } from '../../contract/contract.ts';
import type { NamespaceIds } from '../../images/namespace-ids.ts';
import { savedOwner, savedUsersDownTo } from '../../namespaces/user/saved.ts';
import { Batch } from '../../tracee/batch.ts';
import type { CloneRequest, Seed } from '../../tracee/seed.ts';
import type { TreeStep } from '../tree-plan/plan-tree.ts';
import { enterUsers } from './namespaces.ts';

/** The user namespaces that whoever makes an init has to enter: its PID namespace belongs to the last of them. */
export function usersFor(step: TreeStep | undefined, maker: NamespaceIds, context: RestoreContext): readonly number[] {
  const id = step?.do === 'fork' ? step.place?.namespace : undefined;
  const owner = id === undefined ? undefined : savedOwner(context, id);
  if (owner === undefined) return [];
  const all = savedUsersDownTo(context, owner);
  return all.slice(all.indexOf(maker.user) + 1);
}

/** The helper that makes it, which has to be ended. */
interface Maker {
  readonly seed: Seed;
  readonly batch: Batch;
}

/**
 * Has a process make a child in user namespaces further in, the last of which the child's PID namespace belongs to.
 * A process that has entered them does not get out again, so a helper with the number `pid` enters and makes a sibling.
 * `note` is told of the helper before anything else can fail. `reapSibling` has its parent reap a child that has got
 * another number, as others make processes at the same time.
 */
export function forkInUsers(
  by: Seed,
  users: readonly number[],
  request: CloneRequest,
  { pid, numbers }: { readonly pid: number; readonly numbers: readonly number[] | undefined },
  context: RestoreContext,
  note: (helper: Maker) => void,
  reapSibling: Parameters<Seed['fork']>[1],
): Seed[] {
  const share = { vm: false, files: false, fs: false, sighand: false };
  const [seed] = by.fork([{ pid, numbers, sibling: false, exitSignal: request.exitSignal, share }]);
  if (!seed) return [];
  const batch = new Batch(seed.remote);
  note({ seed, batch });
  for (const id of users) enterUsers({ seed, batch, context }, id);
  batch.flush();
  return seed.fork([{ ...request, sibling: true }], reapSibling);
}
