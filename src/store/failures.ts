/** Errors of node:fs as errors of Stasis. */
import { errnoNameOf, StasisError } from '../base/errors.ts';

/** Does work with files; what fails is told with the file it was. @throws StasisError (io) */
export function withFiles<T>(resource: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof StasisError || !(error instanceof Error) || !('syscall' in error)) throw error;
    const path = 'path' in error && typeof error.path === 'string' ? error.path : resource;
    const code = errnoNameOf(error);
    const remedy = REMEDIES[code ?? ''] ?? 'see whether the file system is sound and may be written to';
    throw new StasisError({
      kind: 'io',
      resource: path,
      reason: `${error.syscall} failed (${code})`,
      remedy,
      cause: error,
    });
  }
}

const REMEDIES: Readonly<Record<string, string>> = {
  ENOSPC: 'make room there; "store rm" and "store gc" free what is not needed',
  EDQUOT: 'raise the quota; "store rm" and "store gc" free what is not needed',
  EACCES: 'see who may write there',
  EPERM: 'see who may write there',
  EROFS: 'name a folder on a file system that is not read-only',
};
