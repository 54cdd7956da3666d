/** The locks of a dump: one in each network namespace in which the tree has connections. */
import type { HostPid } from '../../../base/brands.ts';
import type { DumpContext, DumpEnd } from '../../../contract/contract.ts';
import { OUR_NAMESPACE_IDS } from '../../../images/namespace-ids.ts';
import type { Fd } from '../../../kernel/syscall.ts';
import { openNamespace } from '../../../namespaces/inside.ts';
import { silence } from '../../../namespaces/net/silence.ts';
import { networksOf, type SeenNetwork } from '../../../namespaces/networks.ts';
import { CONNECTIONS } from '../../../network/connections.ts';
import { DumpLock } from './dump-lock.ts';

export class DumpLocks {
  /** The network namespaces that may end with the tasks. */
  readonly #ending: Fd[] = [];
  readonly #locks: { readonly network: SeenNetwork; readonly lock: DumpLock }[] = [];

  /** Locks the connections of a tree. @throws NetlinkError */
  static make(context: DumpContext): DumpLocks {
    const locks = new DumpLocks();
    const connections = CONNECTIONS.of(context.tree);
    try {
      for (const network of networksOf(context.tree)) {
        const own = connections.filter((connection) => connection.network === network.id);
        if (own.length === 0) continue;
        locks.#locks.push({ network, lock: network.within(() => DumpLock.make(context, own)) });
      }
      return locks;
    } catch (error) {
      locks.end('failed');
      throw error;
    }
  }

  /** Unlocks the connections, or has the locks stay where the tasks are about to be killed. */
  end(how: DumpEnd): void {
    const failed: unknown[] = [];
    for (const { network, lock } of this.#locks.splice(0)) {
      try {
        network.within(() => {
          lock.end(how);
          if (how === 'dead' && network.id !== OUR_NAMESPACE_IDS.net) this.#ending.push(openNamespace('self', 'net'));
        });
      } catch (error) {
        failed.push(error); // the others are lifted all the same
      }
    }
    if (failed.length > 0) throw failed[0];
  }

  /** The tasks are dead: nobody in a namespace that ends with them is to answer the peers any more. */
  silence(parent: HostPid): void {
    for (const namespace of this.#ending.splice(0)) {
      using fd = namespace;
      silence(fd.number, parent);
    }
  }
}
