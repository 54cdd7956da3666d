/** The garbage collector of the runtime. */

let isThere = false;

/**
 * Has the runtime make the threads of its collector now, by a first collection; once. Bun makes them when they are
 * first needed, with whatever number the kernel gives next. Node has them from the beginning.
 */
export function startCollector(): void {
  if (isThere) return;
  isThere = true;
  const { Bun: bun } = globalThis as { Bun?: { gc(now: boolean): void } };
  bun?.gc(true);
}
