/**
 * The end of a network namespace whose processes a dump has killed. The kernel takes it apart piece by piece
 * (cleanup_net() in net/core/net_namespace.c), and the packet filters go before the devices: for some milliseconds the
 * addresses are there, and neither connections nor a lock. Whatever comes in then is answered with a reset, and the
 * connections that the images have are lost. So its devices are taken down while Stasis still holds the namespace.
 */
import { type HostPid, hostPid, type LocalFd } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import { ARPHRD, IFF_LINK } from '../../kernel/constants/rtnetlink.ts';
import { namesIn } from '../../kernel/files.ts';
import { namespaceOf } from '../../kernel/namespace.ts';
import { parseMountInfo } from '../../kernel/proc/mountinfo.ts';
import { readProc } from '../../kernel/proc/read.ts';
import { statusOf } from '../../kernel/statx.ts';
import { inside } from '../inside.ts';
import { NetworkView } from './look.ts';
import { setFlags } from './make-links.ts';

/** Takes the devices of a namespace down, unless somebody else keeps it. @throws NetlinkError */
export function silence(namespace: LocalFd): void {
  if (isKept(statusOf(namespace).ino)) return;
  inside('net', namespace, () => {
    using view = new NetworkView();
    for (const { index, flags, type } of view.links()) {
      const isHeard = (flags & IFF_LINK.UP) !== 0 && type !== ARPHRD.LOOPBACK;
      if (isHeard) setFlags(view, index, flags & ~IFF_LINK.UP);
    }
  });
}

/** Whether a namespace is mounted somewhere (`ip netns add`), or a process is in it. */
function isKept(ino: number): boolean {
  const mounts = parseMountInfo(readProc('self', 'mountinfo'));
  if (mounts.some(({ root }) => root === `net:[${ino}]`)) return true;
  return namesIn('/proc').some((name) => {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) return false;
    return networkOf(hostPid(Number(name))) === ino;
  });
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
