/** Helper processes in user namespaces, which Stasis itself cannot enter: it may have several threads. */
import type { LocalFd } from '../../base/brands.ts';
import { CLONE } from '../../kernel/constants/tasks.ts';
import { Batch } from '../../tracee/batch.ts';
import { Seed } from '../../tracee/seed.ts';
import { enterNamespace } from '../enter.ts';

/** A process that acts for Stasis. */
export interface Helper {
  readonly seed: Seed;
  readonly batch: Batch;
}

/** Makes a process in a user namespace, with all capabilities there; in ours, if there is none. The caller ends it. */
export function helperInUsers(users: LocalFd | undefined): Helper {
  const seed = Seed.anywhere();
  try {
    const batch = new Batch(seed.remote);
    if (users !== undefined) enterNamespace({ seed, batch }, CLONE.NEWUSER, users);
    return { seed, batch };
  } catch (error) {
    seed[Symbol.dispose]();
    throw error;
  }
}
