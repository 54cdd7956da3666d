/** Descriptors that are no more than a name for an open file. */
import type { OpenFile } from '../../contract/contract.ts';
import { O } from '../../kernel/constants/files.ts';
import { TOO_DEEP } from '../../kernel/proc/read.ts';

/**
 * Whether a descriptor refers to a pipe, a socket or another file without a path by O_PATH, that is by way of
 * /proc/PID/fd: it cannot be used for anything but to open the file again there.
 */
export function isBareName({ flags, link }: OpenFile): boolean {
  return (flags & O.PATH) !== 0 && !link.startsWith('/') && link !== TOO_DEEP;
}
