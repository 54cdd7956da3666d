/** Checks whether Stasis may do the work at all, before anything is touched. */

import { StasisError } from '../base/errors.ts';
import { type CapName, capBit } from '../kernel/constants/tasks.ts';
import { readProc } from '../kernel/proc/read.ts';
import { parseStatus } from '../kernel/proc/status.ts';

/** Who we are to the kernel. */
export interface Privileges {
  readonly euid: number;
  /** Effective capabilities, one bit each (capabilities(7)). */
  readonly effective: bigint;
}

/**
 * The rule is CRIU's: CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE, and `--unprivileged` when not root.
 *
 * @throws StasisError (permission)
 */
export function requirePrivileges(unprivileged: boolean, privileges: Privileges = ownPrivileges()): void {
  const has = (name: CapName): boolean => (privileges.effective & capBit(name)) !== 0n;
  if (!has('SYS_ADMIN') && !has('CHECKPOINT_RESTORE')) {
    throw new StasisError({
      kind: 'permission',
      reason: 'neither CAP_SYS_ADMIN nor CAP_CHECKPOINT_RESTORE is there',
      // setcap on the program is no remedy: the environment can tell its runtime what to run, with these capabilities.
      remedy: 'run as root, or with --unprivileged in a session that has these and CAP_SYS_PTRACE (capsh --addamb)',
    });
  }
  if (privileges.euid !== 0 && !unprivileged) {
    throw new StasisError({
      kind: 'permission',
      reason: 'not running as root',
      remedy: 'run as root, or accept what cannot be carried without with --unprivileged',
    });
  }
}

function ownPrivileges(): Privileges {
  const { uid, capEff } = parseStatus(readProc('self', 'status'));
  return { euid: uid.effective, effective: capEff };
}
