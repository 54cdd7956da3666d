/** Connections that use ECN (RFC 3168): of which that can be carried. */
import { decodeText } from '../../../base/text.ts';
import type { OpenFile, SeenTree } from '../../../contract/contract.ts';
import { KeyedSlot } from '../../../contract/slots.ts';
import { readSystem } from '../../../kernel/proc/read.ts';
import { inNetworkOf, networkIdOf } from '../../../namespaces/networks.ts';

/** From this value of net.ipv4.tcp_ecn on, connections may use AccECN: then the same flags mean something else. */
const ACCURATE = 3;

const SETTINGS = new KeyedSlot((_: SeenTree, _network: number) => {
  return Number(decodeText(readSystem('/proc/sys/net/ipv4/tcp_ecn')));
});

/** Whether what a connection says of ECN is to be believed: nothing tells whether it uses AccECN instead. */
export function isPlainEcn(file: OpenFile, tree: SeenTree): boolean {
  return inNetworkOf(file, tree, () => SETTINGS.of(tree, networkIdOf(file, tree))) < ACCURATE;
}
