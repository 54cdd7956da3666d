/**
 * Terminals that are mounted: containers have that of their first process at `/dev/console`, a mount of `/dev/pts/0`. A
 * devpts that is mounted again has no terminals, so those are made before the mounts of them.
 */
import { localFd } from '../../base/brands.ts';
import type { RestoreContext } from '../../contract/contract.ts';
import { O } from '../../kernel/constants/files.ts';
import { arenaPath, Fd, syscall } from '../../kernel/syscall.ts';
import { EARLY_MASTERS, openPtyNumber } from '../../support/ptys.ts';
import type { Base, MountStep } from './plan.ts';

/** Makes the terminals of a devpts, a mount of which is `at`, that mounts of the namespace show. @throws StasisError */
export function makeMountedTerminals(
  { key, mount }: Base,
  at: Fd,
  steps: readonly MountStep[],
  context: RestoreContext,
): void {
  if (mount.fsType !== 'devpts') return;
  const masters = EARLY_MASTERS.of(context);
  const open = () => localFd(syscall('openat', at.number, arenaPath('ptmx'), O.RDWR | O.NOCTTY | O.CLOEXEC));
  for (const { base, below } of steps) {
    const number = Number(below);
    if (base.key !== key || !/^\d+$/.test(below) || masters.has(number)) continue;
    masters.set(number, new Fd(openPtyNumber(open, number)));
  }
}
