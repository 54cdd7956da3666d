/**
 * Has sockets made, connected and put to listening by the process that had done so, since the kernel records that
 * process and its effective user then (SO_PEERCRED), and they cannot be set otherwise. A process that has ended is
 * replaced by a short-lived one with its PID, if that is free.
 */
import type { LocalFd } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import type { RestoreContext, RestoreTask } from '../../../contract/contract.ts';
import { AF, SOCK } from '../../../kernel/constants/sockets.ts';
import { CLONE } from '../../../kernel/constants/tasks.ts';
import { borrow, openPidfd } from '../../../kernel/pidfd.ts';
import { Fd } from '../../../kernel/syscall.ts';
import { SAVED_IDS } from '../../../namespaces/made.ts';
import { openSavedNetwork } from '../../../namespaces/networks.ts';
import { seedInside } from '../../../namespaces/pid/seed-inside.ts';
import { INSIDE, type Inside } from '../../../namespaces/user/inside.ts';
import { Batch } from '../../../tracee/batch.ts';
import { handOver } from '../../../tracee/handover.ts';
import type { Program, Ref } from '../../../tracee/program.ts';
import type { Seed } from '../../../tracee/seed.ts';
import type { SavedSocket } from './graph.ts';
import type { SocketNote } from './notes.ts';
import { addressThrough } from './staging.ts';

type Maker = SocketNote['maker'];

/** A process that acts for us: a task of the tree, or one in place of a process that has ended. */
interface Actor {
  /** The ID of the network namespace it is in. */
  readonly network: number;
  readonly seed: Seed;
  readonly batch: Batch;
  /** What it is in its user namespace; undefined where that is ours. */
  readonly inside?: Inside | undefined;
}

/** Sockets handled by one program. */
const LOT = 100;
/** An ID of -1, which setresuid(2) leaves unchanged. */
const SAME = -1;

/** The processes by which sockets are made. They are needed before the tasks change their root directories. */
export class Makers implements Disposable {
  readonly #context: RestoreContext;
  readonly #tasks: ReadonlyMap<number, RestoreTask>;
  /** The first task that has each open file, by the ID of that. */
  readonly #holders = new Map<number, RestoreTask>();
  /** Processes in place of those that have ended; undefined for a PID that is in use. */
  readonly #ghosts = new Map<number, Actor | undefined>();

  constructor(context: RestoreContext, tasks: readonly RestoreTask[]) {
    this.#context = context;
    this.#tasks = new Map(tasks.map((task) => [task.pid, task]));
    for (const task of tasks) {
      for (const { id } of task.fds) if (!this.#holders.has(id)) this.#holders.set(id, task);
    }
  }

  /** What tells makers apart, where `holder` has the socket if the maker is not known. */
  key(maker: Maker, holder: SavedSocket): string {
    return maker ? maker.join(' ') : `first to have it: ${this.#holderOf(holder).pid}`;
  }

  /** The first task that has a socket, as it will be. */
  itself(holder: SavedSocket): Maker {
    const task = this.#holderOf(holder);
    const creds = task.core.thread_core?.creds;
    return creds && [task.pid, creds.euid, creds.egid];
  }

  /**
   * Has pairs made, all by the same maker and in the network namespace of `holder`, which is one of the sockets.
   * Returns both ends of each.
   */
  pairs(maker: Maker, holder: SavedSocket, types: readonly number[]): (readonly [Fd, Fd])[] {
    const actor = this.#actor(maker, holder);
    const made: (readonly [Fd, Fd])[] = [];
    this.#inNetwork(actor, holder.entry.ns_id || actor.network, () => {
      for (let at = 0; at < types.length; at += LOT)
        made.push(...makePairs(actor, this.#here(maker), types.slice(at, at + LOT)));
    });
    return made;
  }

  /** Has listen(2) called. */
  listen(maker: Maker, holder: SavedSocket, local: LocalFd, backlog: number): void {
    this.#act(maker, holder, [local], (program, [socket = -1]) => program.call('listen', socket, backlog));
  }

  /** Has connect(2) called for each of `locals`, which do not block. */
  connect(maker: Maker, holder: SavedSocket, locals: readonly LocalFd[], to: Target): void {
    for (let at = 0; at < locals.length; at += LOT) {
      const lot = locals.slice(at, at + LOT);
      this.#act(maker, holder, to.file === undefined ? lot : [to.file, ...lot], (program, [first = -1, ...others]) => {
        const address = to.file === undefined ? to.address : addressThrough(first);
        const place = program.data(address);
        for (const socket of to.file === undefined ? [first, ...others] : others) {
          program.call('connect', socket, place, address.length);
        }
      });
    }
  }

  /** Has a process be in a network namespace meanwhile: that is the one of the sockets that it makes. */
  #inNetwork({ seed, batch, network }: Actor, wanted: number, work: () => void): void {
    if (wanted === network) {
      work();
      return;
    }
    using there = openSavedNetwork(this.#context, wanted);
    using own = openSavedNetwork(this.#context, network);
    const numbers = handOver(seed, batch, [there.number, own.number]);
    batch.call('setns', numbers[0] ?? -1, CLONE.NEWNET);
    batch.flush();
    work();
    batch.call('setns', numbers[1] ?? -1, CLONE.NEWNET);
    for (const number of numbers) batch.call('close', number);
    batch.flush();
  }

  /** Gives a process descriptors, has it make calls with their numbers there, and close them. */
  #act(
    maker: Maker,
    holder: SavedSocket,
    locals: readonly LocalFd[],
    add: (program: Program, numbers: readonly number[]) => void,
  ): void {
    const actor = this.#actor(maker, holder);
    const { seed, batch } = actor;
    const numbers = handOver(seed, batch, locals);
    const program = batch.reserve(2 * locals.length + 8, ADDRESS_ROOM);
    asMaker(program, actor, this.#here(maker), () => add(program, numbers));
    for (const number of numbers) program.call('close', number);
    batch.flush();
  }

  /** The first task that has a socket; of one that waits in a message, the root of the tree. */
  #holderOf({ entry }: SavedSocket): RestoreTask {
    const task = this.#holders.get(entry.id) ?? this.#tasks.get(this.#context.root);
    if (!task) throw new StasisError({ kind: 'internal', reason: 'sockets without a task to make them' });
    return task;
  }

  /** A maker with the IDs that its user has here. */
  #here(maker: Maker): Maker {
    const { ids } = this.#context;
    return maker && [maker[0], ids.uidHere(maker[1]), ids.gidHere(maker[2])];
  }

  #actor(maker: Maker, holder: SavedSocket): Actor {
    const task = this.#holderOf(holder);
    const pid = maker?.[0] ?? task.pid;
    const living = this.#tasks.get(pid);
    return (living && this.#actorOf(living)) ?? this.#ghost(pid, task) ?? this.#actorOf(task);
  }

  #actorOf({ pid, seed, batch }: RestoreTask): Actor {
    return { seed, batch, network: this.#networkOf(pid), inside: INSIDE.of(this.#context, pid) };
  }

  #networkOf(pid: number): number {
    return SAVED_IDS.of(this.#context, pid).net;
  }

  /** A process with the PID of a maker that has ended; undefined if the PID is in use. */
  #ghost(pid: number, task: RestoreTask): Actor | undefined {
    if (this.#ghosts.has(pid)) return this.#ghosts.get(pid);
    const seed = this.#recreate(pid, task);
    const ghost = seed && { seed, batch: new Batch(seed.remote), network: this.#networkOf(this.#context.root) };
    this.#ghosts.set(pid, ghost);
    return ghost;
  }

  #recreate(pid: number, task: RestoreTask): Seed | undefined {
    try {
      return seedInside(this.#context, pid, task.remote.area);
    } catch (error) {
      if (!(error instanceof StasisError)) throw error;
      const reason = 'which had made sockets, is another process now: SO_PEERCRED will tell of';
      this.#context.notice({ resource: `PID ${pid}`, reason: `${reason} ${task.pid}` });
      return undefined;
    }
  }

  [Symbol.dispose](): void {
    for (const ghost of this.#ghosts.values()) ghost?.seed[Symbol.dispose]();
  }
}

/** Where sockets are connected to: by an address, or by way of a descriptor (O_PATH) of ours for the file. */
export type Target =
  | { readonly address: Uint8Array; readonly file?: undefined }
  | { readonly file: LocalFd; readonly address?: undefined };

/** Bytes for an address in a program. */
const ADDRESS_ROOM = 128;

function makePairs(actor: Actor, maker: Maker, types: readonly number[]): (readonly [Fd, Fd])[] {
  const { seed, batch } = actor;
  batch.flush();
  const { remote } = seed;
  const { program, built } = remote.do((program) =>
    asMaker(program, actor, maker, () =>
      types.map((type) => {
        const ends = program.space(8);
        program.call('socketpair', AF.UNIX, type | SOCK.CLOEXEC, 0, ends);
        return ends;
      }),
    ),
  );
  using pidfd = openPidfd(seed.tracee.pid);
  const numbers = built.map((at) => {
    const ends = program.view(at, 8);
    return [ends.getInt32(0, true), ends.getInt32(4, true)] as const;
  });
  const pairs = numbers.map(([one, other]) => [new Fd(borrow(pidfd, one)), new Fd(borrow(pidfd, other))] as const);
  remote.do((closing) => {
    for (const number of numbers.flat()) closing.call('close', number);
  });
  return pairs;
}

/** Adds calls that are made as the user and group that had made them, whose IDs are told as we see them. */
function asMaker<T>(program: Program, { inside }: Actor, maker: Maker, add: () => T): T {
  const [, uid, gid] = maker ?? [];
  const user = inside?.uid ?? process.geteuid?.() ?? 0;
  const group = inside?.gid ?? process.getegid?.() ?? 0;
  const change = (call: 'setresuid' | 'setresgid', id: number): Ref => program.attempt(call, SAME, id, SAME);
  const uidOf = (id: number): number => inside?.maps.uidThere(id) ?? id;
  const gidOf = (id: number): number => inside?.maps.gidThere(id) ?? id;
  // Real and saved IDs stay, so that the effective ID can be changed back. If the change is refused, the calls are made
  // anyway.
  if (gid !== undefined && gid !== group) change('setresgid', gidOf(gid));
  if (uid !== undefined && uid !== user) change('setresuid', uidOf(uid));
  const added = add();
  if (uid !== undefined && uid !== user) change('setresuid', uidOf(user));
  if (gid !== undefined && gid !== group) change('setresgid', gidOf(group));
  return added;
}
