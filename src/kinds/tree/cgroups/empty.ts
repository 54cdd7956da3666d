/** Cgroup namespaces that no process is in, at a restore. */
import type { RestoreContext } from '../../../contract/contract.ts';
import { CLONE } from '../../../kernel/constants/tasks.ts';
import { savedEmpty } from '../../../namespaces/empty.ts';
import { openNamespace } from '../../../namespaces/inside.ts';
import { MADE_NAMESPACES } from '../../../namespaces/made.ts';
import { helperInUsers } from '../../../namespaces/user/helper.ts';
import { savedOwner } from '../../../namespaces/user/saved.ts';
import { moveHelper } from './restore.ts';

/** Makes those that no process has made: a helper does, in the cgroups that are their roots. @throws StasisError */
export function makeEmpty(context: RestoreContext): void {
  const made = MADE_NAMESPACES.of(context);
  for (const { id, roots = [] } of savedEmpty(context, 'cgroup')) {
    if (made.get('cgroup', id)) continue;
    const owner = savedOwner(context, id);
    const { seed, batch } = helperInUsers(owner === undefined ? undefined : made.get('user', owner)?.fd);
    using _ = seed;
    const places = roots.map(({ hierarchy, path }) => ({ name: hierarchy, path }));
    if (!moveHelper(context, seed.tracee.pid, places)) {
      const reason = 'its root is the cgroup of whoever restores it (--manage-cgroups=ignore)';
      context.notice({ resource: `cgroup namespace ${id}`, reason });
    }
    batch.call('unshare', CLONE.NEWCGROUP);
    batch.flush();
    made.add({ name: 'cgroup', id, fd: openNamespace(seed.tracee.pid, 'cgroup').release() });
  }
}
