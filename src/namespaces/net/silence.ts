/**
 * The end of a network namespace whose processes a dump has killed. The kernel takes it apart piece by piece
 * (cleanup_net() in net/core/net_namespace.c), and the packet filters go before the devices: for some milliseconds the
 * addresses are there, and neither connections nor a lock. Whatever comes in then is answered with a reset, and the
 * connections that the images have are lost. So its devices are taken down while Stasis still holds the namespace.
 */
import { type HostPid, type LocalFd, ownPid } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import { ARPHRD, IFF_LINK } from '../../kernel/constants/rtnetlink.ts';

import { namespaceOf } from '../../kernel/namespace.ts';
import { nap } from '../../kernel/nap.ts';
import { parseMountInfo } from '../../kernel/proc/mountinfo.ts';
import { readProc } from '../../kernel/proc/read.ts';
import { allProcesses, hasEnded } from '../../kernel/proc/tree.ts';
import { statusOf } from '../../kernel/statx.ts';
import { inside } from '../inside.ts';
import { NetworkView } from './look.ts';
import { setFlags } from './make-links.ts';

/**
 * Takes the devices of a namespace down, unless somebody else keeps it. `parent` is the process above the tree: one
 * that has made the namespace and waits for the tree (unshare(1)) is in it as well, and ends now.
 * @throws NetlinkError
 */
export function silence(namespace: LocalFd, parent: HostPid): void {
  const { ino } = statusOf(namespace);
  if (isMounted(ino)) return;
  const members = membersOf(ino);
  if (members.some((pid) => pid !== parent)) return;
  if (members.length > 0 && !endsSoon(parent)) return;
  inside('net', namespace, () => {
    using view = new NetworkView();
    for (const { index, flags, type } of view.links()) {
      const isHeard = (flags & IFF_LINK.UP) !== 0 && type !== ARPHRD.LOOPBACK;
      if (isHeard) setFlags(view, index, flags & ~IFF_LINK.UP);
    }
  });
}

/** Whether a namespace is mounted somewhere (`ip netns add`). */
function isMounted(ino: number): boolean {
  return parseMountInfo(readProc('self', 'mountinfo')).some(({ root }) => root === `net:[${ino}]`);
}

/** The processes in a namespace, without Stasis. */
function membersOf(ino: number): HostPid[] {
  return allProcesses().filter((pid) => pid !== ownPid() && networkOf(pid) === ino);
}

/** How long the parent may take to end, in looks and nanoseconds between two. */
const LOOKS = 200;
const PAUSE = 1_000_000;

function endsSoon(pid: HostPid): boolean {
  for (let look = 0; look < LOOKS; look++) {
    if (hasEnded(pid)) return true;
    nap(PAUSE);
  }
  return false;
}

/** The network namespace of a process; undefined if it has ended, or is one that Stasis may not look at. */
function networkOf(pid: HostPid): number | undefined {
  try {
    return namespaceOf(pid, 'net');
  } catch (error) {
    if (error instanceof StasisError && (error.kind === 'gone' || error.kind === 'permission')) return undefined;
    throw error;
  }
}
