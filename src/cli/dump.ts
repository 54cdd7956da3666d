/** `dump`: freezes a process tree and writes it into image files. */

import { StasisError } from '../base/errors.ts';
import { carryOptions } from './carry.ts';
import { requirePrivileges } from './privileges.ts';
import type { Invocation } from './settings.ts';
import { openWorkplace } from './workplace.ts';

/** Runs the command; returns its exit code. */
export async function run(invocation: Invocation): Promise<number> {
  const { settings } = invocation;
  requirePrivileges(settings.unprivileged);
  const place = openWorkplace(invocation);
  return dumpTasks({ imagesDir: place.imagesDir, carry: carryOptions(settings) });
}

/** TO BE REPLACED by the engine's. */
async function dumpTasks(_options: { imagesDir: string; carry: unknown }): Promise<number> {
  throw new StasisError({ kind: 'unsupported', resource: 'dump', reason: 'this command is not built yet' });
}
