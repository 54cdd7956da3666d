/** The table of the protocols of IP whose sockets are carried. */
import { ping, raw, udp } from './datagram.ts';
import type { InetProtocol } from './protocol.ts';
import { tcp } from './tcp.ts';

export const protocols: readonly InetProtocol[] = [tcp, udp, ping, raw];

/** The protocol of a socket; undefined if none carries it. */
export function protocolOf({
  type,
  protocol,
}: {
  readonly type: number;
  readonly protocol: number;
}): InetProtocol | undefined {
  return protocols.find((candidate) => candidate.handles(type, protocol));
}
