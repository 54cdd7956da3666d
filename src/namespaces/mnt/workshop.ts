/** What is kept of the mounts of all namespaces of a tree until its restore ends. */
import type { RestoreContext } from '../../contract/contract.ts';
import { Slot } from '../../contract/slots.ts';
import { type Fd, trySyscall } from '../../kernel/syscall.ts';
import type { Covered } from '../places.ts';
import type { Mount } from './mount.ts';
import type { Remounted } from './remount.ts';

class Workshop implements Disposable {
  /** For each base a private mount that is attached nowhere. */
  readonly bases = new Map<string, Fd>();
  /** For each peer group a mount in it that is attached nowhere. */
  readonly groups = new Map<number, Fd>();
  /** User namespaces whose maps mounts have, by the IDs of the mounts. */
  readonly owners = new Map<number, Fd>();
  /** The bases that have maps themselves. */
  readonly mapped = new Set<string>();
  /** The groups that have begun: their mounts share. */
  readonly begun = new Set<number>();
  /** The mounts of the tree, by ID. */
  readonly mounts = new Map<number, Fd>();
  /** What is mounted over, by the ID of the mount that it is on. */
  readonly covered = new Map<number, Covered[]>();
  /** The ways by which locked mounts have come. */
  readonly meetings: Disposable[] = [];
  /** The file systems that were mounted again. */
  readonly remounted: Remounted[] = [];
  /** The mounts that become read-only when all files are open. */
  readonly readOnly: { readonly mount: Mount; readonly namespace: number }[] = [];

  [Symbol.dispose](): void {
    for (const { fd } of [...this.covered.values()].flat()) trySyscall('close', fd);
    this.covered.clear();
    for (const meeting of this.meetings.splice(0)) meeting[Symbol.dispose]();
    for (const { context } of this.remounted.splice(0)) context[Symbol.dispose]();
    for (const fds of [this.mounts, this.groups, this.bases, this.owners]) {
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
