/** Namespaces that the user leaves out of a dump: `--external net[INODE]:NAME`, `pid[INODE]:NAME` (see given.ts). */
import type { CarryOptions, SeenNamespace } from '../contract/contract.ts';

/** The name that the user has for a namespace at a dump; undefined if it is not an external one. */
export function externalName(
  { name, ino }: Pick<SeenNamespace, 'name' | 'ino'>,
  { external }: CarryOptions,
): string | undefined {
  const prefix = `${name}[${ino}]:`;
  return external.find((key) => key.startsWith(prefix) && key.length > prefix.length)?.slice(prefix.length);
}
