/** Input and output of the planner of a process tree. */
import { StasisError } from '../../base/errors.ts';
import type { PidPlace, PidPlaces } from '../../images/pid-places.ts';

/** The resources that processes can share through clone(2): CLONE_VM, SIGHAND, FILES, FS. */
export type Sharable = 'vm' | 'sighand' | 'files' | 'fs';

/** The resources in the order in which the planner treats them: the hardest to arrange comes first. */
export const SHARABLES: readonly Sharable[] = ['vm', 'sighand', 'files', 'fs'];

/** A process of the saved tree. */
export interface TreeTask {
  readonly pid: number;
  /** 0 for the root. */
  readonly ppid: number;
  readonly pgid: number;
  readonly sid: number;
  readonly zombie: boolean;
  readonly subreaper: boolean;
  /** IDs of the resources; tasks with equal IDs share one. A zombie has none and shares nothing. */
  readonly shared?: Readonly<Record<Sharable, number>> | undefined;
  /** Whether a session leader has a controlling terminal; without meaning for other tasks. */
  readonly terminal?: boolean | undefined;
}

/** The conditions under which the root is made. */
export interface Planting {
  /** Whether a root that leads no session stays in the session and group it is born in (`--shell-job`). */
  readonly joins: boolean;
  /** The number of the group the root is born in, for a task that has to leave it temporarily and to return. */
  readonly bornPgid?: number | undefined;
  /**
   * PIDs for helpers whose PID does not matter, nearly always of one at a time. They must be free on this machine and
   * in the tree.
   */
  readonly sparePids?: Iterable<number, undefined> | undefined;
  /**
   * Whether a number is the session or group of a process outside of the tree, so that no task can get it as its PID.
   * With `joins`, tasks of one such session are born in the session of the process that makes the root, although the
   * root leads its own.
   */
  readonly isTaken?: ((number: number) => boolean) | undefined;
  /** Where the numbers belong, if the tree is in several PID namespaces. */
  readonly places?: PidPlaces | undefined;
}

/** One operation in a living task. All steps in sequence make the tree. */
export type TreeStep =
  | {
      readonly do: 'fork';
      /** The task that calls clone3. */
      readonly by: number;
      readonly pid: number;
      /** CLONE_PARENT: the new task's parent is that of `by`. */
      readonly sibling: boolean;
      readonly share: Readonly<Record<Sharable, boolean>>;
      /** A helper, which is not part of the tree; an `end` follows. */
      readonly helper: boolean;
      /** Its numbers, in a tree that is in several PID namespaces. */
      readonly place?: PidPlace;
    }
  | { readonly do: 'setsid'; readonly pid: number }
  /** A session leader gets its controlling terminal before other members of its session are forked. */
  | { readonly do: 'terminal'; readonly pid: number }
  | { readonly do: 'subreaper'; readonly pid: number; readonly on: boolean }
  /** `by`: the parent, which does it where the task itself cannot name the group. */
  | { readonly do: 'setpgid'; readonly pid: number; readonly pgid: number; readonly by?: number }
  /** A helper dies, and its parent reaps it. */
  | { readonly do: 'end'; readonly pid: number; readonly reaper: number };

/** The error for a tree that cannot be made by the kernel's rules, or not by this planner. */
export function unbuildable(pid: number, resource: string, reason: string): StasisError {
  return new StasisError({ kind: 'unsupported', code: 'TREE_UNBUILDABLE', task: { pid }, resource, reason });
}

/** Whether an error is one of {@link unbuildable}. */
export function isUnbuildable(error: unknown): boolean {
  return error instanceof StasisError && error.code === 'TREE_UNBUILDABLE';
}

/** The error for a saved tree that no kernel can have had. */
export function damaged(pid: number | undefined, reason: string): StasisError {
  return new StasisError({
    kind: 'image',
    task: pid === undefined ? undefined : { pid },
    resource: 'pstree.img',
    reason,
  });
}
