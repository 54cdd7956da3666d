/** Helper processes in user namespaces, which Stasis itself cannot enter: it may have several threads. */
import type { LocalFd } from '../../base/brands.ts';
import { CLONE } from '../../kernel/constants/tasks.ts';
import { Batch } from '../../tracee/batch.ts';
import { SEED_AREA, Seed } from '../../tracee/seed.ts';
import { enterNamespace } from '../enter.ts';

/** A process that acts for Stasis. */
export interface Helper {
  readonly seed: Seed;
  readonly batch: Batch;
}

/**
 * Makes a process in a user namespace, with all capabilities there; in ours, if there is none. The caller ends it.
 * `isApart` says that it is born in another PID namespace than ours.
 */
export function helperInUsers(users: LocalFd | undefined, isApart = false): Helper {
  const seed = Seed.create({ pid: undefined, sibling: false, taken: new Set(), isApart }, SEED_AREA);
  try {
    const batch = new Batch(seed.remote);
    if (users !== undefined) enterNamespace({ seed, batch }, CLONE.NEWUSER, users);
    return { seed, batch };
  } catch (error) {
    seed[Symbol.dispose]();
    throw error;
  }
}
