/**
 * Which numbers the kernel gives next in the PID namespaces of a tree. Only a process that is in such a namespace can
 * set that (pid_ns_ctl_handler() in kernel/pid_namespace.c), and only with rights in the user namespace that it belongs
 * to, which those of the tree may not have any more: so a helper does, with the rights of Stasis.
 */

import { encodeText } from '../../base/text.ts';
import type { RestoreContext } from '../../contract/contract.ts';
import { O } from '../../kernel/constants/files.ts';
import { openFile } from '../../kernel/files.ts';
import { MADE_NAMESPACES } from '../../namespaces/made.ts';
import { bornIn } from '../../namespaces/pid/seed-inside.ts';
import { Batch } from '../../tracee/batch.ts';
import { handOver } from '../../tracee/handover.ts';
import { SEED_AREA, Seed } from '../../tracee/seed.ts';
import type { Plan } from './plan.ts';

const LAST_PID = '/proc/sys/kernel/ns_last_pid';

/** A process in a PID namespace, with a descriptor of {@link LAST_PID}. */
interface Helper {
  readonly seed: Seed;
  readonly batch: Batch;
  readonly fd: number;
}

export class NextPids {
  readonly #plan: Plan;
  readonly #context: RestoreContext;
  readonly #helpers = new Map<number, Helper>();

  constructor(plan: Plan, context: RestoreContext) {
    this.#plan = plan;
    this.#context = context;
    // Before the tree runs, and before it is killed if the restore fails: an init ends last.
    context.atEnd(() => {
      for (const { seed } of this.#helpers.values()) seed[Symbol.dispose]();
    });
  }

  /** Sets the next numbers in a namespace, or that of the root, and in those around it, as far as they are not ours. */
  set(namespace: number | undefined, numbers: readonly number[]): void {
    const inside = this.#chain(namespace);
    inside.forEach((id, i) => {
      const number = numbers[i];
      // The first number in a namespace that is yet to be made is 1.
      if (number !== undefined && MADE_NAMESPACES.of(this.#context).get('pid', id)) this.#setNext(id, number);
    });
  }

  /** A namespace and those around it, up to that of the root. */
  #chain(namespace: number | undefined): number[] {
    const { places, tasks, root, ours } = this.#plan;
    const ofRoot = tasks.get(root)?.namespaces.pid ?? ours.pid;
    return places?.chain(namespace ?? ofRoot).toReversed() ?? [ofRoot];
  }

  #setNext(id: number, number: number): void {
    const { batch, fd } = this.#helperIn(id);
    const text = encodeText(String(number - 1));
    const program = batch.reserve(1, text.length + 8);
    program.call('pwrite64', fd, program.data(text), text.length, 0);
    batch.flush();
  }

  #helperIn(id: number): Helper {
    const known = this.#helpers.get(id);
    if (known) return known;
    // Its numbers are none of the tree's, in no namespace.
    const spare = this.#plan.spares.next().value;
    const outerPids = this.#chain(id)
      .flatMap(() => spare ?? [])
      .slice(1);
    const options = { pid: spare, outerPids, sibling: false, taken: new Set<number>(), isApart: true };
    const seed = bornIn(MADE_NAMESPACES.of(this.#context).get('pid', id), () => Seed.create(options, SEED_AREA));
    const batch = new Batch(seed.remote);
    const helper = { seed, batch, fd: -1 };
    this.#helpers.set(id, helper);
    using file = openFile(LAST_PID, O.WRONLY);
    const [fd = -1] = handOver(seed, batch, [file.number]);
    const ready = { ...helper, fd };
    this.#helpers.set(id, ready);
    return ready;
  }
}
