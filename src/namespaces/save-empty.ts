/** Saves which namespaces of a tree no process makes again. */
import { encodeText } from '../base/text.ts';
import type { DumpContext, NamespaceName, SeenNamespace, SeenTree } from '../contract/contract.ts';
import { CGROUP_ROOTS } from './cgroup/seen.ts';
import { EMPTY_FILE, type EmptyNamespace } from './empty.ts';
import { parentOfEmpty } from './pid/empty.ts';
import { SEEN_NAMESPACES } from './seen.ts';

/** Types that a process of the tree makes otherwise. Those of users and networks are made before it in any case. */
const EARLY_IF_MOUNTED: ReadonlySet<NamespaceName> = new Set(['ipc', 'uts']);

/** Saves which namespaces no process is to make. */
export function captureEmpty({ tree, images }: DumpContext): void {
  const { others } = SEEN_NAMESPACES.of(tree);
  const isEarly = ({ name, members, isMounted }: SeenNamespace): boolean =>
    members.length === 0 || (isMounted === true && EARLY_IF_MOUNTED.has(name));
  const empty = others.filter(isEarly);
  if (empty.length === 0) return;
  images.put(EMPTY_FILE, encodeText(`${JSON.stringify(empty.map((namespace) => entryOf(namespace, tree)))}\n`));
}

function entryOf(namespace: SeenNamespace, tree: SeenTree): EmptyNamespace {
  const { name, id } = namespace;
  switch (name) {
    case 'pid': {
      const parent = parentOfEmpty(namespace, tree);
      return { name, id, ...(parent === undefined ? {} : { parent }) };
    }
    case 'cgroup':
      return {
        name,
        id,
        roots: [...CGROUP_ROOTS.of(tree, namespace)].map(([hierarchy, path]) => ({ hierarchy, path })),
      };
    default:
      return { name, id };
  }
}
