/** Plays the other end of a connection that is being made again. */
import type { LocalFd } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import { trySyscall } from '../../../kernel/syscall.ts';
import { SAVED_IDS } from '../../../namespaces/made.ts';
import { withoutFilters } from '../../../namespaces/net/kind.ts';
import { fieldsOf, packetEndOf, showEnd } from '../../../network/end-fields.ts';
import { ForgedPeer } from '../../../network/forged-peer.ts';
import type { Play } from '../../../network/tcp-segment.ts';
import { tcpInfo } from '../../../network/tcp-state.ts';
import type { MadeSocket } from './protocol.ts';

/** How often a segment is sent, and how many milliseconds its effect is waited for. */
const TRIES = 40;
const PAUSE = 25;

/** After so many of them in vain the packet filters of a namespace are taken away for a moment. */
const IN_VAIN = 2;

/**
 * Sends a segment from the destination of a socket to its source, `local`, which must not be bound to a device. Returns
 * when the socket has left the state `leaves`, which the other end may have brought about itself if it is on this
 * machine.
 * @throws StasisError
 */
export function playPeer(
  local: LocalFd,
  { entry, context }: Pick<MadeSocket, 'entry' | 'context'>,
  device: number,
  play: Play,
  leaves: number,
): void {
  const destination = fieldsOf(entry, 'destination');
  const own = packetEndOf(entry.family, fieldsOf(entry, 'source'));
  using peer = new ForgedPeer(own, packetEndOf(entry.family, destination), device);
  const isDone = (): boolean => tcpInfo(local).state !== leaves;
  const sendOnce = (): void => {
    peer.send(play);
    if (!isDone()) trySyscall('poll', 0, 0, PAUSE);
  };
  const network = entry.ns_id || SAVED_IDS.of(context, context.root).net;
  for (let turn = 0; turn < TRIES; turn++) {
    if (isDone()) return;
    // The filters of the tree may drop what the other end sends, as they did when this state came about.
    if (turn < IN_VAIN || !withoutFilters(context, network, sendOnce)) sendOnce();
  }
  if (isDone()) return;
  throw new StasisError({
    kind: 'kernel',
    resource: `socket:[${entry.ino}]`,
    reason: `a segment made in place of ${showEnd(entry.family, destination)} has not come in`,
    remedy: 'see that no packet filter drops packets of the loopback device',
  });
}
