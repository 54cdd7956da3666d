/** What is kept of the mounts of all namespaces of a tree until its restore ends. */
import type { RestoreContext } from '../../contract/contract.ts';
import { Slot } from '../../contract/slots.ts';
import type { Fd } from '../../kernel/syscall.ts';
import type { Mount } from './mount.ts';
import type { Remounted } from './remount.ts';

class Workshop implements Disposable {
  /** For each base a private mount that is attached nowhere. */
  readonly bases = new Map<string, Fd>();
  /** For each peer group a mount in it that is attached nowhere. */
  readonly groups = new Map<number, Fd>();
  /** The groups that have begun: their mounts share. */
  readonly begun = new Set<number>();
  /** The mounts of the tree, by ID. */
  readonly mounts = new Map<number, Fd>();
  /** The file systems that were mounted again. */
  readonly remounted: Remounted[] = [];
  /** The mounts that become read-only when all files are open. */
  readonly readOnly: { readonly mount: Mount; readonly namespace: number }[] = [];

  [Symbol.dispose](): void {
    for (const { context } of this.remounted.splice(0)) context[Symbol.dispose]();
    for (const fds of [this.mounts, this.groups, this.bases]) {
      for (const fd of fds.values()) fd[Symbol.dispose]();
      fds.clear();
    }
  }
}

export type { Workshop };

/** One for all mount namespaces of a tree: they have file systems and peer groups in common. */
export const WORKSHOP = new Slot((context: RestoreContext) => {
  const workshop = new Workshop();
  context.atEnd(() => workshop[Symbol.dispose]());
  return workshop;
});
