/** The queues of listening sockets at a dump: the connections in them that nobody has accepted. */
import type { DumpContext, OpenFile } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { Images } from '../../../images/kinds.ts';
import { TCP_STATE } from '../../../kernel/constants/sockets.ts';
import { setLinger } from '../../../kernel/sockets.ts';
import { networkIdOf } from '../../../namespaces/networks.ts';
import { acceptAll, endSilently, waitingIn } from '../../../network/accept-queue.ts';
import { endsKey, LISTENING, QUEUED } from '../../../network/connections.ts';
import { packetEndOf } from '../../../network/end-fields.ts';
import { describe, type KeptConnection, readQueues } from '../../../network/queue-keeper.ts';
import { noteQueue } from '../../../network/saved-queue.ts';

const NOTHING = new Uint8Array();

/** The queues of a dump. */
export class Queues {
  readonly #context: DumpContext;
  /** By the inode of the listening socket. */
  readonly #read = new Map<number, readonly KeptConnection[]>();
  /** The listening sockets whose queues are saved, and the ends of the connections that are. */
  readonly #files = new Set<OpenFile>();
  readonly #saved = new Set<string>();

  private constructor(context: DumpContext) {
    this.#context = context;
  }

  static readonly #slot = new Slot((context: DumpContext) => new Queues(context));

  static of(context: DumpContext): Queues {
    return Queues.#slot.of(context);
  }

  static ifMade(context: DumpContext): Queues | undefined {
    return Queues.#slot.ifMade(context);
  }

  /** Saves the queue of a listening socket, in whose network namespace we are. @throws StasisError */
  save(file: OpenFile, id: number): void {
    const context = this.#context;
    if (waitingIn(file.local) === 0) return;
    const queue = this.#queueOf(file);
    this.#files.add(file);
    // Any other connection has come about since the network was locked: its bytes could come in after it was read.
    const locked = new Set(QUEUED.of(context.tree).map(endsKey));
    const saved = queue.filter((one) => one.state === TCP_STATE.CLOSE || locked.has(keyOf(one)));
    for (const one of saved) {
      this.#saved.add(keyOf(one));
      const payload = { inq: one.inq, outq: NOTHING };
      context.images.writeEntries(Images.tcpStream, one.ino, [{ message: one.entry, payload }]);
    }
    if (saved.length === 0) return;
    const notes = saved.map(({ ino, state, source, destination, receiveBuffer: rcvbuf }) => {
      const ends = { src_port: source.port, src_addr: [...source.words] };
      return { ino, state, ...ends, dst_port: destination.port, dst_addr: [...destination.words], rcvbuf };
    });
    noteQueue(context, id, notes);
  }

  /** The queue of a listening socket, read together with those of all others of its network namespace. */
  #queueOf(file: OpenFile): readonly KeptConnection[] {
    const { tree } = this.#context;
    const known = this.#read.get(file.stat.ino);
    if (known) return known;
    const network = networkIdOf(file, tree);
    const others = LISTENING.of(tree).filter((other) => {
      const isOther = other.stat.ino !== file.stat.ino && !this.#read.has(other.stat.ino);
      return isOther && networkIdOf(other, tree) === network && waitingIn(other.local) > 0;
    });
    const files = [file, ...others];
    readQueues(files.map(({ local }) => local)).forEach((queue, i) => {
      const { stat } = files[i] as OpenFile; // one for each
      this.#read.set(stat.ino, queue);
    });
    return this.#read.get(file.stat.ino) ?? [];
  }

  /**
   * Has the connections that are saved end without a word to their other ends. The tasks must be about to be killed, by
   * us or by the kernel if Stasis is killed. Others get a RST, as they would when their listening socket is closed.
   */
  silence(): void {
    for (const { local } of this.#files) {
      for (const connection of acceptAll(local)) {
        if (this.#saved.has(keyOf(describe(connection.number)))) {
          endSilently(connection);
          continue;
        }
        setLinger(connection.number, 0);
        connection[Symbol.dispose]();
      }
    }
  }
}

function keyOf({ family, source, destination }: Pick<KeptConnection, 'family' | 'source' | 'destination'>): string {
  return endsKey({ local: packetEndOf(family, source), remote: packetEndOf(family, destination) });
}
