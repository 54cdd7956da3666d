/** The numbers that the processes of a restored tree have here. */
import { type HostPid, hostPid } from '../../base/brands.ts';
import type { PstreeEntry } from '../../images/schema/tree.ts';
import { trySyscall } from '../../kernel/syscall.ts';

/**
 * In our PID namespace processes have the numbers of the images. In one of its own the kernel gives them others as
 * well, which are noted as they are made.
 */
export class HostPids {
  readonly #noted: Map<number, HostPid> | undefined;
  readonly #trees: readonly PstreeEntry[];

  /** @param apart whether the tree gets a PID namespace of its own */
  constructor(apart: boolean, trees: readonly PstreeEntry[]) {
    this.#noted = apart ? new Map() : undefined;
    this.#trees = trees;
  }

  /** Notes the number of a process or thread. */
  note(saved: number, host: HostPid): void {
    this.#noted?.set(saved, host);
  }

  /** The number of a process or thread; undefined if it is not there. */
  of(saved: number): HostPid | undefined {
    return this.#noted ? this.#noted.get(saved) : hostPid(saved);
  }

  /** The number of a process group; undefined if none of its members is there. */
  ofGroup(saved: number): HostPid | undefined {
    if (!this.#noted) return hostPid(saved);
    const member = this.#trees.find(({ pid, pgid }) => pgid === saved && this.#noted?.has(pid));
    const host = member && this.of(member.pid);
    if (host === undefined) return undefined;
    const group = trySyscall('getpgid', host);
    return group > 0 ? hostPid(group) : undefined;
  }
}
