/** The ID of a dump, by which the inventory, the manifest and the network lock belong together. */
import type { DumpContext } from '../contract/contract.ts';
import { Slot } from '../contract/slots.ts';
import { readSystem } from '../kernel/proc/read.ts';

/** A random UUID, as CRIU gives each of its runs. */
export function newRunId(): string {
  return Buffer.from(readSystem('/proc/sys/kernel/random/uuid')).toString('latin1').trim();
}

/** That of a dump. */
export const RUN_ID = new Slot((_: DumpContext) => newRunId());
