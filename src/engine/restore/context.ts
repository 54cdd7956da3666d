/** What kinds get to know of a restore, and what they ask of it (RestoreContext). */
import { PAGE_SIZE } from '../../arch/page-size.ts';
import type { HostPid, LocalFd } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import { type NoticeFacts, Notices } from '../../base/notice.ts';
import type { UndoStack } from '../../base/undo.ts';
import type {
  CarryOptions,
  IdView,
  LazyDelivery,
  PreparedSpace,
  RestoreContext,
  RestoreTask,
} from '../../contract/contract.ts';
import { SlotStore } from '../../contract/slots.ts';
import type { ImageSet } from '../../images/image-set.ts';
import { TaskState } from '../../images/schema/task.ts';
import { closeAll } from '../../kernel/descriptor-table.ts';
import { trySyscall } from '../../kernel/syscall.ts';
import { fileKinds } from '../../kinds/registry.ts';
import { fire, type Hooks } from '../hooks.ts';
import type { HostPids } from './host-pids.ts';
import type { Plan } from './plan.ts';
import type { RestoreOptions } from './restore.ts';

/** The context of one restore. */
export class Context implements RestoreContext {
  readonly slots = new SlotStore();
  readonly options: CarryOptions;
  readonly images: ImageSet;
  readonly root: number;
  readonly ids: IdView;
  readonly parentEnds: boolean;
  readonly fileEntries: Plan['files'];
  readonly groupStopped: RestoreContext['groupStopped'];
  readonly notices = new Notices();
  readonly hosts: HostPids;
  readonly filled: RestoreContext['filled'];
  /** Files that are in messages. */
  readonly carried = new Set<number>();
  /** Descriptors made so far, by file ID and, for files to be mapped, flags. */
  readonly #open = new Map<string, LocalFd>();
  readonly #places: Plan['places'];
  readonly #undo: UndoStack;
  readonly #ending: UndoStack;
  readonly #hooks: Hooks;

  constructor(
    { carry, detached, sibling }: RestoreOptions,
    images: ImageSet,
    plan: Plan,
    hosts: HostPids,
    undo: UndoStack,
    ending: UndoStack,
    hooks: Hooks,
    readonly lazy: LazyDelivery | undefined,
    readonly prepared: PreparedSpace | undefined,
  ) {
    this.options = carry;
    this.hosts = hosts;
    this.#places = plan.places;
    this.parentEnds = detached && !sibling;
    this.images = images;
    this.root = plan.root;
    this.ids = plan.ids;
    this.fileEntries = plan.files;
    const types = new Set([...plan.files.values()].map(({ type }) => type));
    for (const kind of fileKinds) if (types.has(kind.type)) kind.meet?.();
    this.groupStopped = [...plan.tasks.values()]
      .filter(({ core }) => core.tc?.task_state === TaskState.STOPPED)
      .map(({ pstree }) => pstree);
    const { progress } = hooks;
    if (progress) this.filled = filledCounter(progress, plan.pages * PAGE_SIZE);
    this.#hooks = hooks;
    this.#undo = undo;
    this.#ending = ending;
    ending.add(() => closeAll([...this.#open.values()]));
  }

  hostPid(saved: number): HostPid | undefined {
    return this.hosts.of(saved);
  }

  numberFor({ pid }: RestoreTask, saved: number): number {
    return this.#places?.numberIn(this.#places.of(pid).namespace, saved) ?? saved;
  }

  hostGroup(saved: number): HostPid | undefined {
    return this.hosts.ofGroup(saved);
  }

  open(fileId: number, flags?: number): LocalFd {
    const key = flags === undefined ? `${fileId}` : `${fileId}/${flags}`;
    const known = this.#open.get(key);
    if (known !== undefined) return known;
    const entry = this.fileEntries.get(fileId);
    const kind = entry && fileKinds.find((candidate) => candidate.type === entry.type);
    if (!entry || !kind) throw new StasisError({ kind: 'internal', reason: `file ${fileId} was not planned for` });
    const local = kind.rebuild(entry, this, flags);
    this.#open.set(key, local);
    return local;
  }

  openCarried(fileId: number): LocalFd {
    this.carried.add(fileId);
    return this.open(fileId);
  }

  adopt(fileId: number, local: LocalFd): void {
    const before = this.#open.get(`${fileId}`);
    if (before !== undefined) trySyscall('close', before);
    this.#open.set(`${fileId}`, local);
  }

  notice(facts: NoticeFacts): void {
    this.notices.add(facts);
  }

  whenInFront(work: () => boolean): void {
    this.#hooks.whenInFront?.(work);
  }

  handOut(master: LocalFd): void {
    fire(this.#hooks, { point: 'orphan-pts-master', descriptor: master });
  }

  undo(work: () => void): void {
    this.#undo.add(work);
  }

  atEnd(work: () => void): void {
    this.#ending.add(work);
  }
}

/** Tells of memory that was filled. */
function filledCounter(progress: NonNullable<Hooks['progress']>, total: number): (bytes: number) => void {
  let done = 0;
  return (bytes) => {
    done += bytes;
    progress({ step: 'memory', done, total });
  };
}
