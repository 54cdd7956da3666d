/** Which namespaces a task is in. */
import type { HostPid } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import { parseNsLink } from './proc/namespaces.ts';
import { readProcLink } from './proc/read.ts';

/**
 * Inode of a task's namespace, named as in `/proc/PID/ns`; undefined where the kernel has none of this type.
 * @throws StasisError kind 'gone'
 */
export function namespaceOf(pid: HostPid | 'self', name: string): number | undefined {
  try {
    return parseNsLink(readProcLink(pid, `ns/${name}`))?.ino;
  } catch (error) {
    if (error instanceof StasisError && error.kind === 'unsupported') return undefined;
    throw error;
  }
}
