/** Where the roots of a cgroup namespace are that no process is in. */
import { StasisError } from '../../base/errors.ts';
import type { SeenNamespace } from '../../contract/contract.ts';
import { O } from '../../kernel/constants/files.ts';
import { tryOpenElsewhere } from '../../kernel/file-handles.ts';
import { openFile, tryReadLink } from '../../kernel/files.ts';
import { mountHierarchy } from '../../kernel/mounts.ts';
import { hierarchyName, parseCgroup } from '../../kernel/proc/cgroup.ts';
import { readProc } from '../../kernel/proc/read.ts';
import { Fd, SyscallError } from '../../kernel/syscall.ts';
import { insideSeen } from '../inside.ts';

/**
 * The roots of a cgroup namespace by the name of the hierarchy, as absolute paths; without those that cannot be found.
 * A mount that is made inside has the root of the namespace for its root (cgroup_do_get_tree() in
 * kernel/cgroup/cgroup.c), and the handle of that leads to its path on a mount of the whole hierarchy.
 */
export function rootsFromMounts(namespace: SeenNamespace): ReadonlyMap<string, string> {
  const roots = new Map<string, string>();
  for (const membership of parseCgroup(readProc('self', 'cgroup'))) {
    const { controllers, name } = membership;
    const names = controllers.length > 0 || name === undefined ? controllers : [`name=${name}`];
    const root = rootOf(names, namespace);
    if (root !== undefined) roots.set(hierarchyName(membership), root);
  }
  return roots;
}

function rootOf(names: readonly string[], namespace: SeenNamespace): string | undefined {
  try {
    using whole = mountHierarchy(names);
    using part = insideSeen('cgroup', namespace, () => mountHierarchy(names));
    using directory = openFile(`/proc/self/fd/${whole.number}`, O.RDONLY | O.DIRECTORY);
    const opened = tryOpenElsewhere(part.number, directory.number);
    if (opened < 0) return undefined;
    using root = new Fd(opened);
    const path = tryReadLink(`/proc/self/fd/${root.number}`);
    // A cgroup that was removed has no path any more.
    return typeof path === 'string' && path.startsWith('/') && !path.endsWith(' (deleted)') ? path : undefined;
  } catch (error) {
    if (error instanceof SyscallError) return undefined;
    throw error;
  }
}

/** The roots of a namespace that no process is in which cannot be found: somebody may have removed them. */
export function hiddenRoots({ ino }: SeenNamespace, roots: ReadonlyMap<string, string>): StasisError[] {
  const names = parseCgroup(readProc('self', 'cgroup')).map(hierarchyName);
  return names
    .filter((name) => !roots.has(name))
    .map((name) => {
      const resource = `cgroup ${name === '' ? 'v2' : name} in cgroup namespace ${ino}`;
      const reason = 'no process is in this namespace, and its root cannot be found: it may have been removed';
      const remedy = 'have the program close the namespace, or unmount it, before the dump';
      return new StasisError({ kind: 'unsupported', code: 'NAMESPACE_CGROUP_ROOT', resource, reason, remedy });
    });
}
