/** What the two sides of a migration say to each other. docs/migration.md tells in which order. */

/** Counted up when a version of Stasis says something else than the one before. */
export const PROTOCOL = 1;

/** What has gone wrong at the other side, as far as people and programs are told. */
export interface Failure {
  readonly code: string;
  readonly resource?: string | undefined;
  readonly reason: string;
  readonly remedy?: string | undefined;
}

/** A file that the tree uses by its path. */
export interface NeededFile {
  readonly path: string;
  /** Undefined for a directory, and for a file that the tree may write, whose size changes. */
  readonly size?: number | undefined;
  /** Of its contents (SHA-256, hexadecimal), if they are to be compared. */
  readonly hash?: string | undefined;
}

/** A socket's address, of IP. */
export interface NeededAddress {
  readonly protocol: 'tcp' | 'udp';
  readonly address: string;
  /** 0 if the port may be in use by others as well. */
  readonly port: number;
}

/** What a tree needs on the machine where it is restored. */
export interface Needs {
  /** Numbers of its processes and threads; none if it brings a PID namespace along. */
  readonly pids: readonly number[];
  readonly files: readonly NeededFile[];
  readonly addresses: readonly NeededAddress[];
}

/** A private anonymous mapping of the root, in which memory may be prepared. */
export interface Prepared {
  readonly start: number;
  readonly length: number;
  /** PROT_* of its pages. */
  readonly prot: number;
}

/** Figures of a restore, in milliseconds. */
export interface RestoreTimes {
  readonly restore: number;
  /** From the first image that has come until the tree was ready to run. */
  readonly making: number;
}

export type Message =
  /** Source: who wants to move what. `options` are those of the restore, as a program would give them. */
  | {
      readonly type: 'hello';
      readonly protocol: number;
      readonly version: string;
      readonly token: string;
      readonly root: number;
      readonly options: Record<string, unknown>;
      readonly needs: Needs;
      /** cpuinfo.img, in Base64. */
      readonly cpu: string;
    }
  /** Target: what is in the way; nothing if there is none. */
  | { readonly type: 'welcome'; readonly version: string; readonly obstacles: readonly Failure[] }
  /** Source: images to be restored for practice (rehearsal.ts); their bytes follow. No answer. */
  | { readonly type: 'rehearse'; readonly files: readonly { readonly name: string; readonly size: number }[] }
  /** Source: pages follow, by the protocol of page servers. */
  | { readonly type: 'round'; readonly round: number }
  /** Source: the mappings of the root as they are after a round. */
  | {
      readonly type: 'mappings';
      readonly mappings: readonly Prepared[];
      readonly taken: readonly Prepared[];
      readonly fds: number;
    }
  /** Target: what has come is where it will be needed, as far as that is possible. */
  | { readonly type: 'loaded' }
  /** Source: all other images; their bytes follow. */
  | { readonly type: 'images'; readonly files: readonly { readonly name: string; readonly size: number }[] }
  /** Target: the tree is there, stopped. */
  | { readonly type: 'ready' }
  /** Source: let it run. */
  | { readonly type: 'go' }
  /** Target: it runs. */
  | { readonly type: 'running'; readonly pid: number; readonly times: RestoreTimes }
  /** Target: it does not, and nothing is left of it. */
  | { readonly type: 'failed'; readonly failure: Failure }
  /** Source: its own tree has ended; nobody will ask any more. */
  | { readonly type: 'done' }
  /** Source, on a connection of its own: what has become of a migration? Nothing will, if nothing has. */
  | { readonly type: 'ask'; readonly token: string }
  | { readonly type: 'outcome'; readonly state: 'running' | 'given up' };
