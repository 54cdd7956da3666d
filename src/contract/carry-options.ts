/** The options that say which state of a tree is carried, and how. */

/** What the user says of the control files of a controller. */
export interface CgroupProperties {
  readonly controller: string;
  /** Whether only these are carried, and not those that are usually. */
  readonly replace: boolean;
  /** Their names, such as `cpu.shares`. */
  readonly properties: readonly string[];
}

/** A label of a security module; without a module, that which Stasis itself has. */
export type WantedLabel =
  | { readonly module: 'apparmor' | 'selinux'; readonly text: string }
  | { readonly module: 'none' };

/** The options of the user that concern kinds, the same for every task. Sizes are in bytes. */
export interface CarryOptions {
  readonly shellJob: boolean;
  /**
   * Terminals whose master is open outside of the tree are carried: at the restore a master is made for whoever keeps
   * them, and handed out ({@link RestoreContext.handOut}).
   */
  readonly orphanPtsMaster: boolean;
  /** The inode of the socket by which Stasis is asked for the work, whose other end a task of the tree may have. */
  readonly ownSocket: number | undefined;
  readonly fileLocks: boolean;
  readonly linkRemap: boolean;
  readonly evasiveDevices: boolean;
  readonly ghostLimit: number;
  readonly fileValidation: 'filesize' | 'buildid';
  readonly skipFileRwxCheck: boolean;
  /** Search for watched files whose path the kernel does not give: in `irmapScanPaths` and in the usual places. */
  readonly forceIrmap: boolean;
  readonly irmapScanPaths: readonly string[];
  /** How much of the tasks' cgroups is carried. */
  readonly manageCgroups: 'ignore' | 'none' | 'props' | 'soft' | 'full' | 'strict';
  /**
   * `--cgroup-root`: the path under which the tasks' cgroups are made, for the hierarchy of one controller or, without
   * a key, for all.
   */
  readonly cgroupRoot: readonly { readonly key: string | undefined; readonly value: string }[];
  /** `--cgroup-props`: control files to be carried besides, or instead. */
  readonly cgroupProperties: readonly CgroupProperties[];
  /** `--cgroup-dump-controller`: the only controllers to be carried; all, if none is named. */
  readonly cgroupControllers: readonly string[];
  /** `--cgroup-yard`: a directory in which cgroup hierarchies are mounted. */
  readonly cgroupYard: string | undefined;
  /** `--root`: the root directory of a tree with mounts of its own. */
  readonly root: string | undefined;
  /** `--skip-mnt`: mount points that are left out. */
  readonly skipMounts: readonly string[];
  /** `--enable-fs`: types of file systems that are simply mounted again, or `all`. */
  readonly enableFs: readonly string[];
  /** `--ext-mount-map`: mount point → name at the dump, name → path at the restore. */
  readonly extMountMap: ReadonlyMap<string, string>;
  /** Keys of `--external`. */
  readonly external: readonly string[];
  /** `--inherit-fd`: key → our own descriptor. */
  readonly inheritFd: ReadonlyMap<string, number>;
  readonly tcpEstablished: boolean;
  readonly tcpClose: boolean;
  readonly skipInFlight: boolean;
  readonly networkLock: 'nftables' | 'iptables' | 'skip';
  /** `--ext-unix-sk`: unix sockets may have a peer outside of the tree; any (`all`), or those with these inodes. */
  readonly extUnixSockets: 'none' | 'all' | ReadonlySet<number>;
  /** `--unix-peer`: what happens to a stream whose peer is outside of the tree. */
  readonly unixPeer: 'reconnect' | 'reset' | 'refuse';
  /** `--inet-addr-map`: addresses, or addresses with a port, and what stands in their place after the restore. */
  readonly inetAddressMap: ReadonlyMap<string, string>;
  /** `--join-ns`: types of namespaces, and where those are that the tree is restored into: PIDs or files. */
  readonly joinNamespaces: readonly { readonly type: string; readonly target: string }[];
  /** `--empty-ns net`: network namespaces are made again without anything in them, for somebody else to fill. */
  readonly emptyNetNs: boolean;
  /** `--weak-sysctls`: settings of namespaces that this kernel does not have are passed over. */
  readonly weakSysctls: boolean;
  /** `--lsm-profile`: the security label of all restored threads instead of their own. */
  readonly securityLabel: WantedLabel | undefined;
  /** Whether the tasks continue to run after the dump. */
  readonly leaveRunning: boolean;
  /** Whether all images go into one file or stream, which is complete before any task is killed. */
  readonly inOneFile: boolean;
}
