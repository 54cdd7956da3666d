/**
 * The messages in a POSIX message queue, read from the memory of the kernel: mq_receive(3) takes them out, and nothing
 * else shows them (ipc/mqueue.c).
 */
import { PAGE_SIZE } from '../arch/page-size.ts';
import type { LocalFd } from '../base/brands.ts';
import { fileAddresses, kernelBytes, kernelTypes } from './kernel-memory.ts';

/** A message. Those of a higher priority are received first, and of one priority those that were sent first. */
export interface PosixMessage {
  readonly priority: number;
  readonly data: Uint8Array;
}

/** The members of structures that lead to the messages. */
const MEMBERS = {
  inode: ['file', 'f_inode'],
  inQueue: ['mqueue_inode_info', 'vfs_inode'],
  tree: ['mqueue_inode_info', 'msg_tree'],
  left: ['rb_node', 'rb_left'],
  right: ['rb_node', 'rb_right'],
  node: ['posix_msg_tree_node', 'rb_node'],
  list: ['posix_msg_tree_node', 'msg_list'],
  priority: ['posix_msg_tree_node', 'priority'],
  element: ['msg_msg', 'm_list'],
  size: ['msg_msg', 'm_ts'],
  rest: ['msg_msg', 'next'],
} as const;
type Offsets = Readonly<Record<keyof typeof MEMBERS | 'head' | 'piece', number>>;

/** More descriptors than Stasis has. */
const MOST_DESCRIPTORS = 1 << 16;

/** The messages of a queue, `count` of them; undefined if the kernel does not tell, or tells of others. */
export function queuedMessages(fd: LocalFd, count: number): PosixMessage[] | undefined {
  const offsets = offsetsInKernel();
  const file = offsets && fileAddresses(process.pid, MOST_DESCRIPTORS)?.get(fd);
  if (!offsets || file === undefined) return undefined;
  try {
    const found = new QueueReader(fd, offsets).messages(file, count);
    return found.length === count ? found : undefined;
  } catch (error) {
    if (error instanceof Unreadable) return undefined;
    throw error;
  }
}

function offsetsInKernel(): Offsets | undefined {
  const types = kernelTypes();
  const members = Object.entries(MEMBERS).map(([name, [of, member]]) => [name, types?.offsetOf(of, member)] as const);
  const all = [...members, ['head', types?.sizeOf('msg_msg')], ['piece', types?.sizeOf('msg_msgseg')]] as const;
  return all.some(([, offset]) => offset === undefined) ? undefined : (Object.fromEntries(all) as Offsets);
}

/** Memory of the kernel cannot be read. */
class Unreadable extends Error {}

class QueueReader {
  readonly #fd: LocalFd;
  readonly #at: Offsets;

  constructor(fd: LocalFd, offsets: Offsets) {
    this.#fd = fd;
    this.#at = offsets;
  }

  /** The messages of the queue behind an open file (`struct file`), at most one more than `most`. */
  messages(file: bigint, most: number): PosixMessage[] {
    const { inode, inQueue, tree } = this.#at;
    const queue = this.#word(file, inode) - BigInt(inQueue);
    const found: PosixMessage[] = [];
    const waiting = [this.#word(queue, tree)];
    for (let node = waiting.pop(); node !== undefined && found.length <= most; node = waiting.pop()) {
      if (node === 0n) continue;
      waiting.push(this.#word(node, this.#at.left), this.#word(node, this.#at.right));
      this.#collect(node - BigInt(this.#at.node), found, most);
    }
    return found;
  }

  /** The messages of one priority, which are in a list. */
  #collect(leaf: bigint, found: PosixMessage[], most: number): void {
    const priority = Number(BigInt.asUintN(32, this.#word(leaf, this.#at.priority)));
    const list = leaf + BigInt(this.#at.list);
    for (
      let element = this.#word(list, 0);
      element !== list && found.length <= most;
      element = this.#word(element, 0)
    ) {
      found.push({ priority, data: this.#data(element - BigInt(this.#at.element)) });
    }
  }

  /** The content of a message: behind its head, and in further pieces of at most a page each (ipc/msgutil.c). */
  #data(message: bigint): Uint8Array {
    const { size, rest, head, piece } = this.#at;
    const data = new Uint8Array(Number(this.#word(message, size)));
    let next = this.#word(message, rest);
    let from = message + BigInt(head);
    let room = PAGE_SIZE - head;
    for (let done = 0; done < data.length; ) {
      const length = Math.min(room, data.length - done);
      data.set(this.#bytes(from, length), done);
      done += length;
      if (done === data.length) break;
      if (next === 0n) throw new Unreadable();
      from = next + BigInt(piece);
      room = PAGE_SIZE - piece;
      next = this.#word(next, 0);
    }
    return data;
  }

  #word(address: bigint, offset: number): bigint {
    const bytes = this.#bytes(address + BigInt(offset), 8);
    return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  }

  #bytes(address: bigint, length: number): Uint8Array {
    const bytes = kernelBytes(this.#fd, address, length);
    if (!bytes) throw new Unreadable();
    return bytes;
  }
}
