/**
 * Descriptors that the user gives at the restore in place of something that was outside of the tree (`--inherit-fd
 * fd[N]:KEY`). Kinds ask for them by key; those that no kind has asked for are reported.
 */
import { type LocalFd, localFd } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import type { CarryOptions, RestoreContext } from '../contract/contract.ts';
import { Slot } from '../contract/slots.ts';
import { F } from '../kernel/constants/files.ts';
import { trySyscall } from '../kernel/syscall.ts';

/** The keys that were asked for and given. */
const ASKED = new Slot((_: RestoreContext) => new Set<string>());

/** Our own descriptor that was given for `key`, which stays the user's; undefined if none was. */
export function inheritedFd(context: RestoreContext, key: string): LocalFd | undefined {
  const given = context.options.inheritFd.get(key);
  if (given === undefined) return undefined;
  ASKED.of(context).add(key);
  return localFd(given);
}

/** Checks that all descriptors that were given are open. @throws StasisError (usage) naming the first that is not */
export function requireInherited({ inheritFd }: CarryOptions): void {
  for (const [key, fd] of inheritFd) {
    if (trySyscall('fcntl', fd, F.GETFD) >= 0) continue;
    throw new StasisError({
      kind: 'usage',
      code: 'FILE_EXTERNAL',
      resource: `--inherit-fd fd[${fd}]:${key}`,
      reason: `Stasis has no descriptor ${fd}`,
      remedy: `open one for it: in a shell, exec ${fd}<>FILE, or ${fd}<FILE after the command`,
    });
  }
}

/** Reports the descriptors that were given and that no file of the images asks for. */
export function reportUnasked(context: RestoreContext): void {
  for (const [key, fd] of context.options.inheritFd) {
    if (ASKED.of(context).has(key)) continue;
    context.notice({
      resource: `--inherit-fd fd[${fd}]:${key}`,
      reason: 'no file of the images asks for this key, so that the descriptor is not used',
      remedy: 'the keys of what is outside of the tree are in the log of the dump, and in files.img (crit show)',
    });
  }
}
