/**
 * Namespaces as entities: what a kind of namespace owes the engine. The kinds are in namespaces/, one folder for each;
 * the table of those a tree is in is namespaces/seen.ts at a dump and namespaces/made.ts at a restore.
 */
import type { LocalFd } from '../base/brands.ts';
import type { StasisError } from '../base/errors.ts';
import type { NoticeFacts } from '../base/notice.ts';
import type { NamespaceName } from '../images/namespace-ids.ts';
import type { Fd } from '../kernel/syscall.ts';
import type { DumpContext } from './dump.ts';
import type { RestoreContext, RestoreTask } from './restore.ts';
import type { SeenTask, SeenTree } from './seen.ts';

export type { NamespaceName } from '../images/namespace-ids.ts';

/** A namespace that processes of a tree are in, that owns such a one, or that the tree keeps, seen at a dump. */
export interface SeenNamespace {
  readonly name: NamespaceName;
  /** Its inode number in nsfs, which identifies it on this machine. */
  readonly ino: number;
  /** Its number in the images, unique among the namespaces of all types. */
  readonly id: number;
  /** Whether Stasis itself is in it. Then it belongs to the machine, and nothing of it is saved. */
  readonly ours: boolean;
  /**
   * The processes that are in it, in the order of the tree. The first one makes it at the restore. One that owns others
   * may have none, and one that something else of the tree keeps: an open file, or a mount.
   */
  readonly members: readonly SeenTask[];
  /** The user namespace that owns it, for a user namespace its parent; undefined if that is ours or around ours. */
  readonly owner: SeenNamespace | undefined;
  /** Whether it is mounted on a file in a mount namespace of the tree. */
  readonly isMounted?: boolean;
  /** Opens it. @throws SyscallError if it is gone */
  open(): Fd;
}

/** A namespace that has been made again at a restore. It exists as long as its first member, or `fd`, does. */
export interface MadeNamespace {
  readonly name: NamespaceName;
  readonly id: number;
  /** A descriptor of ours for it, to be entered with setns(2). */
  readonly fd: LocalFd;
  /**
   * The process that has made it, which can be asked to make calls inside (`batch`); undefined if none has: network and
   * user namespaces exist before the processes that enter them, those that are given before the restore.
   */
  readonly first?: RestoreTask;
  /** While it is rebuilt: the helper that has made it, where no process of the tree has. */
  readonly maker?: Pick<RestoreTask, 'batch' | 'tracee'>;
  /** It was there before, and nothing of it is made again. */
  readonly isGiven?: boolean;
}

/** A process that enters namespaces: a task that is being restored, or a helper. */
export type EnteringTask = Pick<RestoreTask, 'seed' | 'batch' | 'context'>;

/** A type of namespace: how its contents are saved and made again. */
export interface NamespaceKind extends NamespaceDoors {
  readonly name: NamespaceName;
  /** Its CLONE_NEW* flag. */
  readonly flag: bigint;
}

/** What is done with the namespaces of a type. */
export interface NamespaceDoors {
  /**
   * Everything in a namespace that cannot be carried. Called before the freeze and again after it, for each namespace
   * that is not ours.
   */
  obstacles?(namespace: SeenNamespace, tree: SeenTree): StasisError[];
  /** What is carried but will change; called like {@link obstacles}. */
  notices?(namespace: SeenNamespace, tree: SeenTree): NoticeFacts[];
  /**
   * Saves what is in a namespace that is not ours. Called when all tasks are captured, still stopped, and nothing of
   * Stasis is left in them.
   */
  capture?(namespace: SeenNamespace, context: DumpContext): void;
  /** Adds the calls of a process that is about to make or enter a namespace, with this ID in the images. */
  beforeEntering?(task: EnteringTask, id: number): void;
  /** Called when a process is in a namespace that it has made or entered; one that is new is rebuilt by then. */
  entered?(task: EnteringTask, id: number): void;
  /**
   * Makes again what is in a namespace. Called as soon as its first member exists: that has no memory, no descriptors
   * and no children yet. Namespaces of one process are rebuilt in the order of the registry (namespaces/registry.ts).
   */
  rebuild?(namespace: MadeNamespace, context: RestoreContext): void;
  /**
   * Makes again what refers to other namespaces than those that its first member is in. Called once when all processes
   * and namespaces exist, if there are some of this type.
   */
  complete?(context: RestoreContext): void;
  /** Called when all tasks are rebuilt, before any of them runs: for what must not take effect earlier. */
  finish?(namespace: MadeNamespace, context: RestoreContext): void;
}
