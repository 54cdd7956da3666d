/** `restore`: brings a process tree back from its image files. */

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
  return restoreTasks({ imagesDir: place.imagesDir, carry: carryOptions(settings) });
}

/** TO BE REPLACED by the engine's. */
async function restoreTasks(_options: { imagesDir: string; carry: unknown }): Promise<number> {
  throw new StasisError({ kind: 'unsupported', resource: 'restore', reason: 'this command is not built yet' });
}
