/**
 * Network namespaces: devices, addresses, routes, rules, neighbours, sysctls, packet filters. The images are those of
 * CRIU; what it has no place for is in a file of our own (own-file.ts).
 */
import type { StasisError } from '../../base/errors.ts';
import type { DumpContext, NamespaceDoors, RestoreContext, SeenNamespace, SeenTree } from '../../contract/contract.ts';
import { KeyedSlot, Slot } from '../../contract/slots.ts';
import { Images } from '../../images/kinds.ts';
import type { Fd } from '../../kernel/syscall.ts';
import { externalName } from '../external.ts';
import { inside, insideSeen } from '../inside.ts';
import { SEEN_NAMESPACES } from '../seen.ts';
import { captureNetwork } from './capture.ts';
import { externalDevices } from './externals.ts';
import { captureTracked, filterObstacles, restoreTracked } from './filters.ts';
import type { Link } from './links.ts';
import { type ChosenQueue, NetworkView } from './look.ts';
import { obstacleOfLink, queueNotices } from './obstacles.ts';
import { NetworkRestore } from './rebuild.ts';
import { ATTACHED_TUN } from './tun-links.ts';

export const netNamespace: NamespaceDoors = {
  obstacles(namespace, tree) {
    if (tree.options.emptyNetNs || externalName(namespace, tree.options)) return [];
    const external = externalNames(tree);
    const { links, filters } = CONTENTS.of(tree, namespace);
    return [...links.flatMap((link) => obstacleOfLink(link, namespace, external) ?? []), ...filters];
  },

  notices(namespace, tree) {
    if (tree.options.emptyNetNs || externalName(namespace, tree.options)) return [];
    const { links, queues } = CONTENTS.of(tree, namespace);
    return queueNotices(queues, links);
  },

  capture(namespace, context) {
    const { options, images } = context;
    const key = externalName(namespace, options);
    if (key !== undefined) {
      images.write(Images.netns, namespace.id, [{ ext_key: key }]);
      return;
    }
    if (options.emptyNetNs) {
      insideSeen('net', namespace, () => captureTracked(namespace.id, images));
      return;
    }
    using namespaces = new Opened(context);
    const own = namespaces.list.find(({ id }) => id === namespace.id);
    if (!own) return;
    const sizes = ATTACHED_TUN.of(context);
    inside('net', own.fd, () =>
      captureNetwork({
        id: namespace.id,
        images,
        ids: context.tree.ids,
        namespaces: namespaces.list,
        external: externalNames(context),
        tunSizes: (name) => sizes.get(`${namespace.ino}/${name}`),
      }),
    );
  },

  rebuild(namespace, context) {
    if (!context.options.emptyNetNs) NETWORKS.of(context).add(namespace);
    else
      inside('net', namespace.fd, () => restoreTracked(namespace.id, context.images, (facts) => context.notice(facts)));
  },

  finish(_, context) {
    NETWORKS.ifMade(context)?.finish();
  },
};

interface Contents {
  readonly links: readonly Link[];
  readonly queues: readonly ChosenQueue[];
  readonly filters: readonly StasisError[];
}

/** What of a namespace obstacles and notices are about. */
const CONTENTS = new KeyedSlot((_: SeenTree, namespace: SeenNamespace): Contents => {
  return insideSeen('net', namespace, () => {
    using view = new NetworkView();
    return { links: view.links(), queues: view.chosenQueues(), filters: filterObstacles() };
  });
});

function externalNames({ options }: SeenTree | DumpContext): ReadonlySet<string> {
  return new Set(externalDevices(options.external).netdev.keys());
}

/** The network namespaces of a tree, opened for a while. */
class Opened implements Disposable {
  readonly #fds: Fd[] = [];
  readonly list: { readonly id: number; readonly fd: Fd['number'] }[] = [];

  constructor({ tree }: DumpContext) {
    for (const { name, id, open } of SEEN_NAMESPACES.of(tree).others) {
      if (name !== 'net') continue;
      const fd = open();
      this.#fds.push(fd);
      this.list.push({ id, fd: fd.number });
    }
  }

  [Symbol.dispose](): void {
    for (const fd of this.#fds) fd[Symbol.dispose]();
  }
}

const NETWORKS = new Slot((context: RestoreContext) => new NetworkRestore(context));

/**
 * Does `work` while a network namespace that was made again is without its packet filters. Returns false, and does
 * nothing, if it has none of the images.
 */
export function withoutFilters(context: RestoreContext, id: number, work: () => void): boolean {
  return NETWORKS.ifMade(context)?.withoutFilters(id, work) ?? false;
}
