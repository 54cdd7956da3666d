/** What the planner of a process tree is given, and what it answers. */
import { StasisError } from '../../base/errors.ts';

/** What clone(2) can have two processes share. */
export type Sharable = 'vm' | 'sighand' | 'files' | 'fs';

/** In the order in which the planner looks at them: what is hardest to share first. */
export const SHARABLES: readonly Sharable[] = ['vm', 'sighand', 'files', 'fs'];

/** A process of the tree that is to be made again. */
export interface TreeTask {
  readonly pid: number;
  /** 0 for the root. */
  readonly ppid: number;
  readonly pgid: number;
  readonly sid: number;
  readonly zombie: boolean;
  readonly subreaper: boolean;
  /** Equal numbers mean shared; a task without (a zombie) shares nothing. */
  readonly shared?: Readonly<Record<Sharable, number>> | undefined;
  /** Of a session leader: it has a controlling terminal. Of others it means nothing. */
  readonly terminal?: boolean | undefined;
}

/** How the root comes into the world. */
export interface Planting {
  /** If it leads no session it stays in the session, and in the group, it is born in (`--shell-job`). */
  readonly joins: boolean;
  /** The number of that group, for a task that has to leave it for a while and to come back. */
  readonly bornPgid?: number | undefined;
  /** A PID for helpers whose number does not matter; one at a time has it. Free on this machine and in the tree. */
  readonly sparePid?: number | undefined;
  /**
   * Whether a number is a session or group of somebody who is not of the tree: nobody can be given it as a PID. With
   * `joins`, tasks of one such session are born in that of whoever plants the root, though the root leads its own.
   */
  readonly isTaken?: ((number: number) => boolean) | undefined;
}

/** One thing to do in a living task. All steps one after another make the tree. */
export type TreeStep =
  | {
      readonly do: 'fork';
      /** The task that calls clone3. */
      readonly by: number;
      readonly pid: number;
      /** CLONE_PARENT: the new task's parent is that of `by`. */
      readonly sibling: boolean;
      readonly share: Readonly<Record<Sharable, boolean>>;
      /** Not of the tree: an `end` follows. */
      readonly helper: boolean;
    }
  | { readonly do: 'setsid'; readonly pid: number }
  /** A session leader gets its controlling terminal, before others of its session are born. */
  | { readonly do: 'terminal'; readonly pid: number }
  | { readonly do: 'subreaper'; readonly pid: number; readonly on: boolean }
  | { readonly do: 'setpgid'; readonly pid: number; readonly pgid: number }
  /** A helper dies, and its parent reaps it. */
  | { readonly do: 'end'; readonly pid: number; readonly reaper: number };

/** A tree the kernel's rules give no way to, or none that the planner knows. */
export function unbuildable(pid: number, resource: string, reason: string): StasisError {
  return new StasisError({ kind: 'unsupported', code: 'TREE_UNBUILDABLE', task: { pid }, resource, reason });
}

/** A tree that cannot have been. */
export function damaged(pid: number | undefined, reason: string): StasisError {
  return new StasisError({
    kind: 'image',
    task: pid === undefined ? undefined : { pid },
    resource: 'pstree.img',
    reason,
  });
}
