/** Connections that use ECN (RFC 3168): how they get it again. */
import type { RestoreContext } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { O } from '../../../kernel/constants/files.ts';
import { AF } from '../../../kernel/constants/sockets.ts';
import { statusOf } from '../../../kernel/statx.ts';
import { type Fd, syscall } from '../../../kernel/syscall.ts';
import { SAVED_IDS } from '../../../namespaces/made.ts';
import { withoutFilters } from '../../../namespaces/net/kind.ts';
import { type EcnFamily, socketWithEcn } from '../../../network/ecn-socket.ts';
import { fieldsOf, packetEndOf, showEnd } from '../../../network/end-fields.ts';
import type { MadeSocket } from './protocol.ts';

/** Network namespaces of a restore, by ID, in which no socket with ECN can be had. */
const WITHOUT = new Slot((_: RestoreContext) => new Set<number>());

/** Has the socket of a connection that is to be made again use ECN, if that can be had here. */
export function takeEcn(socket: MadeSocket): void {
  const { entry, local, context } = socket;
  using made = withEcn(socket);
  if (!made) {
    const ends = (['source', 'destination'] as const).map((end) => showEnd(entry.family, fieldsOf(entry, end)));
    context.notice({
      resource: `socket:[${entry.ino}], the connection between ${ends.join(' and ')}`,
      reason: 'it goes on without ECN, which this machine does not allow',
      remedy: 'allow it (sysctl net.ipv4.tcp_ecn=2)',
    });
    return;
  }
  syscall('fchown', made.number, statusOf(local).uid, -1);
  syscall('dup3', made.number, local, O.CLOEXEC);
}

function withEcn({ entry, context }: MadeSocket): Fd | undefined {
  const network = entry.ns_id || SAVED_IDS.of(context, context.root).net;
  if (WITHOUT.of(context).has(network)) return undefined;
  const { address } = packetEndOf(entry.family, fieldsOf(entry, 'destination'));
  const family: EcnFamily = entry.family === AF.INET ? 'IPv4' : address.length === 4 ? 'mapped' : 'IPv6';
  let made = socketWithEcn(family);
  if (made) return made;
  // The filters of the tree may drop what comes in at the loopback device.
  withoutFilters(context, network, () => {
    made = socketWithEcn(family);
  });
  if (!made) WITHOUT.of(context).add(network);
  return made;
}
