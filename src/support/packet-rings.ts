/** Rings of packet sockets that are mapped: the mapping belongs to a socket that the tree has open. */
import type { OpenFile, SeenTree } from '../contract/contract.ts';
import { Slot } from '../contract/slots.ts';
import { AF } from '../kernel/constants/sockets.ts';
import type { ProcVma } from '../kernel/proc/smaps.ts';

/** A descriptor for each packet socket that a tree has open, by inode. */
const SOCKETS = new Slot(({ tasks }: SeenTree) => {
  const all = tasks.flatMap(({ fds }) => fds.filter((file) => file.socketDomain() === AF.PACKET));
  return new Map(all.map((file) => [file.stat.ino, file]));
});

/** The socket whose rings a mapping is, open in any task; undefined if it is none of such. */
export function mappedPacketSocket(vma: Pick<ProcVma, 'name' | 'ino'>, tree: SeenTree): OpenFile | undefined {
  return vma.name.startsWith('socket:[') ? SOCKETS.of(tree).get(Number(vma.ino)) : undefined;
}
