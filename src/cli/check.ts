/** `check`: what this kernel offers; with `-t PID`, what would stand in the way of dumping that tree. */

import { StasisError } from '../base/errors.ts';
import { requirePrivileges } from './privileges.ts';
import type { Invocation, Settings } from './settings.ts';
import { openWorkplace } from './workplace.ts';

/** Runs the command; returns its exit code. */
export async function run(invocation: Invocation): Promise<number> {
  const { settings } = invocation;
  requirePrivileges(settings.unprivileged);
  openWorkplace(invocation);
  return check(settings);
}

/** TO BE REPLACED by the engine's. */
async function check(_settings: Settings): Promise<number> {
  throw new StasisError({ kind: 'unsupported', resource: 'check', reason: 'this command is not built yet' });
}
