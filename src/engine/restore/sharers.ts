/** Which tasks of a tree have kernel objects in common: memory, descriptor table, directories, signal actions. */
import type { Sharing } from '../../contract/contract.ts';
import type { TaskPlan } from './plan.ts';

type Ids = Pick<TaskPlan, 'ids'>;

/** Objects in which the calls of one task are in the way of those of another. */
const IN_THE_WAY = ['vm_id', 'files_id', 'fs_id'] as const;

export class Sharers {
  /** How many tasks have an object. */
  readonly #holders = new Map<string, number>();
  /** Objects of the tasks made so far. */
  readonly #made = new Set<string>();

  constructor(tasks: Iterable<Ids>) {
    for (const { ids } of tasks) {
      for (const id of IN_THE_WAY) {
        const key = `${id} ${ids[id]}`;
        this.#holders.set(key, (this.#holders.get(key) ?? 0) + 1);
      }
    }
  }

  /** As RestoreTask.isAlone. */
  isAlone({ ids }: Ids): boolean {
    return IN_THE_WAY.every((id) => (this.#holders.get(`${id} ${ids[id]}`) ?? 0) < 2);
  }

  /**
   * What a new task shares with tasks that exist already; undefined for a helper. The first task with an object has to
   * rebuild it, even if it inherited it from a helper.
   */
  sharesOf(plan: Ids | undefined): Sharing {
    if (!plan) return { vm: false, files: false, fs: false, sighand: false };
    const { vm_id, files_id, fs_id, sighand_id } = plan.ids;
    return {
      vm: this.#known('vm', vm_id),
      files: this.#known('files', files_id),
      fs: this.#known('fs', fs_id),
      sighand: this.#known('sighand', sighand_id),
    };
  }

  #known(kind: string, id: number | undefined): boolean {
    const key = `${kind} ${id}`;
    const is = id !== undefined && this.#made.has(key);
    this.#made.add(key);
    return is;
  }
}
