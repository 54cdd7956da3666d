/** The time namespaces of a tree at a dump: those of its processes, and those for children that are yet to be born. */
import type { HostPid } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import type { DumpContext, DumpTask, SeenThread, SeenTree } from '../../../contract/contract.ts';
import { KeyedSlot, Slot } from '../../../contract/slots.ts';
import { Images } from '../../../images/kinds.ts';
import { FIRST_FREE_NAMESPACE_ID, NAMESPACE_IDS } from '../../../images/namespace-ids.ts';
import { CLONE } from '../../../kernel/constants/tasks.ts';
import { namespaceOf } from '../../../kernel/namespace.ts';
import type { Fd } from '../../../kernel/syscall.ts';
import { type Clocks, eachClock, machineClocks, offsetsForChildren } from '../../../kernel/time-namespace.ts';
import { enterNamespace } from '../../../namespaces/enter.ts';
import { openNamespace } from '../../../namespaces/inside.ts';
import { SEEN_NAMESPACES } from '../../../namespaces/seen.ts';
import { Batch } from '../../../tracee/batch.ts';
import { SEEDS } from '../../../tracee/seeds.ts';
import { entryOf } from './reading.ts';

/** The inode numbers of a process's two time namespaces; undefined where the kernel has none. */
const INODES = new KeyedSlot((_: SeenTree, pid: HostPid) => {
  const own = namespaceOf(pid, 'time');
  const children = namespaceOf(pid, 'time_for_children');
  return own === undefined || children === undefined ? undefined : { own, children };
});

/**
 * Of the threads of a process the main one decides: in images it is the one that tells. Another thread that has called
 * unshare(2) would have its children in other namespaces than they are to be in.
 */
export function threadApart(thread: SeenThread): StasisError[] {
  const { tid, ref } = thread;
  if (tid === ref.pid) return [];
  const own = namespaceOf(tid, 'time_for_children');
  if (own === namespaceOf(ref.pid, 'time_for_children')) return [];
  const reason = 'the children of this thread are to have another time namespace than those of its process';
  const resource = `time namespace ${own}`;
  return [new StasisError({ kind: 'unsupported', code: 'NAMESPACE_TIME_CHILDREN', task: ref, resource, reason })];
}

/** The time namespaces of a tree. */
class TimeNamespaces {
  /** The IDs in images, by inode number. */
  readonly ids = new Map<number, number>();
  /** For each, a process whose children are born into it: only their offsets are shown. */
  readonly #shown = new Map<number, HostPid>();
  /** For each, how it is opened. */
  readonly #open = new Map<number, () => Fd>();

  constructor(tree: SeenTree) {
    const table = SEEN_NAMESPACES.of(tree);
    let next = table.others.reduce((most, { id }) => Math.max(most, id + 1), FIRST_FREE_NAMESPACE_ID);
    const ours = namespaceOf('self', 'time');
    for (const { pid } of tree.tasks) {
      const inodes = INODES.of(tree, pid);
      if (!inodes) continue;
      this.#open.set(inodes.own, () => openNamespace(pid, 'time'));
      this.#shown.set(inodes.children, pid);
      for (const ino of [inodes.own, inodes.children]) {
        if (this.ids.has(ino)) continue;
        const known = ino === ours ? NAMESPACE_IDS.time_ns_id : table.withInode('time', ino)?.id;
        this.ids.set(ino, known ?? next++);
      }
    }
    for (const { name, ino, id, members, open } of table.others) {
      if (name !== 'time' || members.length > 0) continue;
      this.ids.set(ino, id);
      this.#open.set(ino, open);
    }
  }

  /** The offsets of each, by ID. */
  offsets(): [id: number, offsets: Clocks][] {
    return [...this.ids].map(([ino, id]) => {
      const shown = this.#shown.get(ino);
      if (shown !== undefined) return [id, offsetsForChildren(shown)];
      const open = this.#open.get(ino);
      if (!open) throw new StasisError({ kind: 'internal', reason: `nobody is in time namespace ${ino}` });
      using namespace = open();
      return [id, offsetsFromWithin(namespace)];
    });
  }
}

const NAMESPACES = new Slot((tree: SeenTree) => new TimeNamespaces(tree));

/**
 * The offsets of a time namespace whose members' children are born into others. A process enters it, so that its
 * children are.
 */
function offsetsFromWithin(namespace: Fd): Clocks {
  using seed = SEEDS.load().Seed.anywhere();
  const batch = new Batch(seed.remote);
  enterNamespace({ seed, batch }, CLONE.NEWTIME, namespace.number);
  return offsetsForChildren(seed.tracee.pid);
}

/**
 * The clocks are read when all tasks have been asked what their timers have left: rather fires one a moment late, by
 * these clocks, than too early.
 */
export function capture({ tree, images }: DumpContext): void {
  const offsets = NAMESPACES.of(tree).offsets();
  const now = machineClocks();
  for (const [id, offset] of offsets) {
    const clocks = eachClock(now, offset, (reading, shift) => reading + shift);
    // As in CRIU, which has no image for a namespace of its own but this one.
    images.write(Images.timens, id === NAMESPACE_IDS.time_ns_id ? 0 : id, [entryOf(clocks)]);
  }
}

/** Notes in which namespace the children of a process are to be born, if that is another than its own. */
export function noteChildren(task: DumpTask): void {
  const inodes = INODES.of(task.tree, task.pid);
  if (!inodes || inodes.own === inodes.children) return;
  const id = NAMESPACES.of(task.tree).ids.get(inodes.children);
  if (id !== undefined) task.ownState.timeForChildren = id;
}
