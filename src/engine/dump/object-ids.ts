/** Finds out which kernel objects tasks share: address spaces, descriptor tables, directories, signal actions. */

import type { HostPid } from '../../base/brands.ts';
import type { SeenTree, Sharing } from '../../contract/contract.ts';
import { Slot } from '../../contract/slots.ts';
import type { InputOf } from '../../images/message.ts';
import { type NamespaceIds, namespaceIdFields, OUR_NAMESPACE_IDS } from '../../images/namespace-ids.ts';
import type { taskKobjIdsEntry } from '../../images/schema/task.ts';
import { KCMP } from '../../kernel/constants/files.ts';
import { findInOrder } from '../../kernel/kcmp.ts';
import { unlessGone } from '../../kernel/proc/tree.ts';
import { SyscallError, trySyscall } from '../../kernel/syscall.ts';
import { SEEN_NAMESPACES } from '../../namespaces/seen.ts';

/** IDs of the objects of one task in the image. Tasks with equal IDs share the object. */
export interface ObjectIds {
  readonly vm: number;
  readonly files: number;
  readonly fs: number;
  readonly sighand: number;
  readonly namespaces: NamespaceIds;
}

/** The ID for objects of Stasis itself, which no task shares. */
const OWN = 1;

/** The image's form of a task's ids. */
export function idsEntry(ids: ObjectIds): InputOf<typeof taskKobjIdsEntry> {
  return {
    vm_id: ids.vm,
    files_id: ids.files,
    fs_id: ids.fs,
    sighand_id: ids.sighand,
    ...namespaceIdFields(ids.namespaces),
  };
}

/** The IDs for Stasis itself. */
export const OWN_IDS: ObjectIds = { vm: OWN, files: OWN, fs: OWN, sighand: OWN, namespaces: OUR_NAMESPACE_IDS };

/** The objects of one task, and which of them it shares with an earlier task. */
export interface TaskObjects {
  readonly ids: ObjectIds;
  readonly known: Sharing;
}

/** The objects of each living process of a tree, by PID, numbered in the order of the tasks. */
export const OBJECTS = new Slot((tree: SeenTree): ReadonlyMap<number, TaskObjects> => {
  const table = new ObjectTable((pid) => SEEN_NAMESPACES.of(tree).idsOf(pid));
  const found = new Map<number, TaskObjects>();
  for (const { pid } of tree.tasks) {
    // Members of a running tree may end at any time.
    const objects = tree.frozen ? table.idsOf(pid) : unlessGone(() => table.idsOf(pid));
    if (objects) found.set(pid, objects);
  }
  return found;
});

/** Numbers the objects of tasks, in the order of the calls. */
export class ObjectTable {
  readonly #vm = new Objects(KCMP.VM);
  readonly #files = new Objects(KCMP.FILES);
  readonly #fs = new Objects(KCMP.FS);
  readonly #sighand = new Objects(KCMP.SIGHAND);
  readonly #namespaces: (pid: HostPid) => NamespaceIds;

  constructor(namespaces: (pid: HostPid) => NamespaceIds) {
    this.#namespaces = namespaces;
  }

  /** The IDs of a task, and which of its objects it shares with an earlier task. @throws SyscallError */
  idsOf(pid: HostPid): TaskObjects {
    const [vm, files, fs, sighand] = [this.#vm, this.#files, this.#fs, this.#sighand].map((table) => table.idOf(pid));
    const id = (found: Found | undefined): number => found?.id ?? OWN;
    const known = (found: Found | undefined): boolean => found?.known ?? false;
    return {
      ids: { vm: id(vm), files: id(files), fs: id(fs), sighand: id(sighand), namespaces: this.#namespaces(pid) },
      known: { vm: known(vm), files: known(files), fs: known(fs), sighand: known(sighand) },
    };
  }
}

interface Found {
  readonly id: number;
  readonly known: boolean;
}

/** Objects of one type, sorted in kcmp's order. */
export class Objects {
  readonly #type: number;
  readonly #sorted: { readonly pid: HostPid; readonly id: number }[] = [];
  #nextId = OWN + 1;

  constructor(type: number) {
    this.#type = type;
  }

  idOf(pid: HostPid): Found {
    const same = findInOrder(this.#sorted, (other) => {
      const order = trySyscall('kcmp', pid, other.pid, this.#type, 0, 0);
      if (order < 0) throw new SyscallError('kcmp', -order, { task: { pid } });
      return order;
    });
    if (typeof same !== 'number') return { id: same.id, known: true };
    const id = this.#nextId++;
    this.#sorted.splice(same, 0, { pid, id });
    return { id, known: false };
  }
}
