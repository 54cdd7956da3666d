/** The last step with the mounts of a restored tree. */
import type { MadeNamespace, RestoreContext } from '../../contract/contract.ts';
import { MOUNT_ATTR, MS } from '../../kernel/constants/mounts.ts';
import { changeMount } from '../../kernel/mounts.ts';
import { inside } from '../inside.ts';
import { nameOf } from './mount.ts';
import { makeReadOnly } from './remount.ts';
import { WORKSHOP } from './workshop.ts';

/** Makes mounts of a namespace and file systems read-only: the last step, when no file is opened any more. */
export function finishMounts({ id, fd }: MadeNamespace, context: RestoreContext): void {
  const { remounted, readOnly, mounts } = WORKSHOP.of(context);
  const own = readOnly.filter(({ namespace }) => namespace === id);
  const change = (): void => {
    for (const { mount } of own) {
      const made = mounts.get(mount.id);
      if (made) changeMount(made.number, { set: MOUNT_ATTR.RDONLY }, nameOf(mount));
    }
  };
  if (own.length > 0) inside('mnt', fd, change);
  for (const made of remounted.splice(0)) {
    if ((made.mount.superFlags & MS.RDONLY) !== 0) makeReadOnly(made);
    made.context[Symbol.dispose]();
  }
}
