/**
 * What a client of the service may do. The service runs as root, so that the process that serves a client takes the
 * client's user, groups and capabilities before it reads anything: from then on the kernel decides which tasks may be
 * traced, which files opened.
 */

import { hostPid } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import { PR } from '../kernel/constants/prctl.ts';
import { SO } from '../kernel/constants/sockets.ts';
import { CAPABILITY_VERSION_3, capBit } from '../kernel/constants/tasks.ts';
import { CapHeader, encodeCapSets } from '../kernel/layouts/tasks.ts';
import { readProc } from '../kernel/proc/read.ts';
import { parseStatus } from '../kernel/proc/status.ts';
import { unlessGone } from '../kernel/proc/tree.ts';
import { getOption } from '../kernel/sockets.ts';
import { syscall, trySyscall } from '../kernel/syscall.ts';
import type { Channel } from './channel.ts';

/**
 * What a client may ask for. `all`: it is root. `restore`: it may have any tree made that it could make itself. `dump`:
 * it may have dumped what it could trace, and nothing restored: to give out process IDs takes a capability, which
 * forged images could make a present of to the tree.
 */
export type Rights = 'all' | 'restore' | 'dump';

/** Capabilities of whoever may have anything done. */
const POWERS = capBit('SYS_ADMIN') | capBit('SYS_PTRACE');
/** Room for the groups of a client, 4 bytes each: more than anybody has. */
const GROUPS_ROOM = 60 * 1024;

/**
 * Takes the rights of a client. Of its own capabilities the process keeps CAP_CHECKPOINT_RESTORE, which lets nobody
 * trace anybody, but tells where the mappings of a traced task come from.
 *
 * @throws StasisError if that is not possible
 */
export function takeRightsOf({ fd, peer }: Channel): Rights {
  const status = peer.pid > 0 ? unlessGone(() => parseStatus(readProc(hostPid(peer.pid), 'status'))) : undefined;
  // A process that has the number of a client that is gone is somebody else.
  const capabilities = status?.uid.effective === peer.uid ? status.capEff : 0n;
  if (peer.uid === 0 && (capabilities & POWERS) === POWERS) return 'all';
  const own = parseStatus(readProc('self', 'status')).capEff;
  const kept = (capabilities & own) | (own & capBit('CHECKPOINT_RESTORE'));
  const groups = getOption(fd, SO.PEERGROUPS, GROUPS_ROOM);
  try {
    syscall('prctl', PR.SET_KEEPCAPS, 1, 0, 0, 0);
    syscall('setgroups', groups.length / 4, groups);
    syscall('setresgid', peer.gid, peer.gid, peer.gid);
    syscall('setresuid', peer.uid, peer.uid, peer.uid);
    const header = CapHeader.encode({ version: CAPABILITY_VERSION_3, pid: 0 });
    syscall('capset', header, encodeCapSets({ effective: kept, permitted: kept, inheritable: 0n }));
    syscall('prctl', PR.SET_KEEPCAPS, 0, 0, 0, 0);
    // Our own files of /proc must be ours. The client cannot trace us: it would need our capability for that.
    trySyscall('prctl', PR.SET_DUMPABLE, 1, 0, 0, 0);
  } catch (error) {
    throw new StasisError({
      kind: 'permission',
      reason: `the service cannot take the rights of user ${peer.uid}`,
      remedy: 'run the service as root with CAP_SETUID, CAP_SETGID and CAP_SETPCAP',
      cause: error,
    });
  }
  const makes = capBit('SYS_ADMIN') | capBit('CHECKPOINT_RESTORE');
  return (capabilities & makes) === 0n ? 'dump' : 'restore';
}
