/** What one row of the table of options says; see `options.ts`. */

import type { Command, FinalState, Settings } from './settings.ts';

/** The settings a value of type `T` may be written to. */
type KeyFor<T> = { [K in keyof Settings]: T extends Settings[K] ? K : never }[keyof Settings];
/** The settings that collect values of type `T`, one for each time the option is given. */
type ListOf<T> = { [K in keyof Settings]: Settings[K] extends T[] ? K : never }[keyof Settings];

/** What an option's argument is, and which setting it is written to. */
export type OptionValue =
  | { readonly type: 'flag'; readonly key: KeyFor<boolean> }
  | { readonly type: 'flags'; readonly keys: readonly KeyFor<boolean>[] }
  | { readonly type: 'text'; readonly key: KeyFor<string> }
  | { readonly type: 'texts'; readonly key: ListOf<string> }
  | { readonly type: 'commaTexts'; readonly key: ListOf<string> }
  | { readonly type: 'number'; readonly key: KeyFor<number>; readonly least: number; readonly most?: number }
  | { readonly type: 'size'; readonly key: KeyFor<number> }
  | { readonly type: 'choice'; readonly key: keyof Settings; readonly choices: Choices; readonly bare?: string }
  | { readonly type: 'state'; readonly key: 'finalState'; readonly state: FinalState }
  | { readonly type: 'verbosity'; readonly key: 'verbosity' }
  | { readonly type: 'cpuCap'; readonly key: 'cpuCap' }
  | { readonly type: 'unixInodes'; readonly key: 'extUnixSk' }
  | { readonly type: 'external'; readonly key: 'external' }
  | { readonly type: 'inheritFd'; readonly key: 'inheritFd' }
  | { readonly type: 'joinNs'; readonly key: 'joinNs' }
  | { readonly type: 'extMountMap'; readonly key: 'extMountMap' }
  | { readonly type: 'cgroupRoot'; readonly key: 'cgroupRoot' }
  | { readonly type: 'vethPair'; readonly key: 'vethPair' }
  | { readonly type: 'addressMap'; readonly key: 'inetAddrMap' }
  | { readonly type: 'closeFd'; readonly key: 'closeFds' }
  | { readonly type: 'emptyNs'; readonly key: 'emptyNetNs' }
  | { readonly type: 'removed'; readonly remedy: string }
  /** Read by the command line itself, before settings exist. */
  | { readonly type: 'command line' };

/** Words an option accepts, and what each stands for. */
export type Choices = Readonly<Record<string, string>>;

/** The headings of the help text, in its order. */
export const OPTION_GROUPS = [
  'Tasks',
  'Directories and files',
  'Logging',
  'Files of the tasks',
  'Sockets and network',
  'External resources',
  'Namespaces and mounts',
  'Cgroups and security',
  'Memory',
  'Page server and service',
  'Migration',
  'Checks',
  'Configuration',
  'General',
] as const;

/** One option. */
export interface OptionRow {
  readonly group: (typeof OPTION_GROUPS)[number];
  readonly long: string;
  readonly short?: string;
  /** The argument's name in the help text; absent: the option takes none. */
  readonly arg?: string;
  /** What the argument names, where a shell can complete it. */
  readonly completes?: 'file' | 'directory' | 'process';
  /** The argument may be left out, and must be attached when given: `--long=VALUE`, `-sVALUE`. */
  readonly argOptional?: true;
  /** Also exists as `--no-LONG`. */
  readonly negatable?: true;
  /** Ours, not CRIU's: takes no part in abbreviations, so that CRIU's keep their meaning. */
  readonly own?: true;
  /** A matter of whoever sits at a terminal: the programming interface does not offer it. */
  readonly terminal?: true;
  readonly value: OptionValue;
  /** The field of `criu_opts` that says the same over RPC: number and name. */
  readonly rpc?: readonly [number, string];
  /** The commands for which it changes something. */
  readonly built: readonly Command[];
  /** The commands for which it will change something; with these it is refused by name until then. */
  readonly later?: readonly Command[];
  /** The commands that accept it although nothing changes, and why nothing that was asked for is left out. */
  readonly idle?: { readonly in: readonly Command[]; readonly because: string };
  readonly help: string;
}
