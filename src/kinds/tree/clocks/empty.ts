/** Time namespaces that no process is in, at a restore. */
import { StasisError } from '../../../base/errors.ts';
import type { RestoreContext } from '../../../contract/contract.ts';
import { emptyNamespaces } from '../../../namespaces/empty.ts';
import { MADE_NAMESPACES } from '../../../namespaces/made.ts';
import { helperInUsers } from '../../../namespaces/user/helper.ts';
import { savedOwner } from '../../../namespaces/user/saved.ts';
import { makeForChildren } from './restore.ts';

/** Makes those that no process has made, to have its children there. @throws StasisError */
export function makeEmpty(context: RestoreContext): void {
  const made = MADE_NAMESPACES.of(context);
  for (const id of emptyNamespaces(context, 'time')) {
    if (made.get('time', id)) continue;
    const owner = savedOwner(context, id);
    const { seed, batch } = helperInUsers(owner === undefined ? undefined : made.get('user', owner)?.fd);
    using _ = seed;
    const namespace = makeForChildren({ context, seed, batch, tracee: seed.tracee }, id);
    if (typeof namespace === 'string') {
      throw new StasisError({ kind: 'kernel', resource: `time namespace ${id}`, reason: namespace });
    }
    made.add({ name: 'time', id, fd: namespace.release() });
  }
}
