/** What of a tree is to be carried, and how. */

/** What the user allows and wants; the same for every task. Sizes are bytes. */
export interface CarryOptions {
  readonly shellJob: boolean;
  readonly fileLocks: boolean;
  readonly linkRemap: boolean;
  readonly evasiveDevices: boolean;
  readonly ghostLimit: number;
  readonly fileValidation: 'filesize' | 'buildid';
  readonly skipFileRwxCheck: boolean;
  /** Look for watched files whose path the kernel does not give, there and in the usual places. */
  readonly forceIrmap: boolean;
  readonly irmapScanPaths: readonly string[];
  /** What of the tasks' cgroups is carried. */
  readonly manageCgroups: 'ignore' | 'none' | 'props' | 'soft' | 'full' | 'strict';
  /** `--cgroup-root`: where the tasks' cgroups begin, for the hierarchy of one controller or (no key) for all. */
  readonly cgroupRoot: readonly { readonly key: string | undefined; readonly value: string }[];
  /** `--cgroup-yard`: a directory where hierarchies are mounted. */
  readonly cgroupYard: string | undefined;
  /** Keys of `--external`. */
  readonly external: readonly string[];
  /** `--inherit-fd`: key → our own descriptor. */
  readonly inheritFd: ReadonlyMap<string, number>;
  /** Whether the tasks go on after the dump. */
  readonly leaveRunning: boolean;
}
