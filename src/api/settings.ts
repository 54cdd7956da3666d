/**
 * What the user asked for, with types: the value of every option, CRIU's default where none was given.
 *
 * Commands read a Settings object and hand the engine plain option objects made from it; nothing below `cli/`
 * knows options by their names on the command line.
 */

import type { LogLevel } from '../base/log.ts';

/** The commands, CRIU's and our own (`exec` here runs a syscall in another process; `crit` reads images). */
export type Command =
  | 'dump'
  | 'pre-dump'
  | 'restore'
  | 'check'
  | 'exec'
  | 'crit'
  | 'service'
  | 'swrk'
  | 'page-server'
  | 'migrate'
  | 'lazy-pages'
  | 'dedup'
  | 'cpuinfo dump'
  | 'cpuinfo check'
  | 'store add'
  | 'store get'
  | 'store ls'
  | 'store rm'
  | 'store gc'
  | 'store check'
  | 'show';

/** What becomes of the tasks afterwards. `dead` is the default after a dump; after a restore it means "running". */
export type FinalState = 'dead' | 'running' | 'stopped';

/** `--manage-cgroups`: how much of the tasks' cgroups is saved and rebuilt. */
export type CgroupMode = 'ignore' | 'none' | 'props' | 'soft' | 'full' | 'strict';

/**
 * `--network-lock`: how connections are held still while their owner is away. The images tell how, so that CRIU removes
 * the lock as well, whose own default is chosen when it is built.
 */
export type NetworkLock = 'iptables' | 'nftables' | 'skip';

/** `--cpu-cap`: which CPU facts are compared at restore; `image` also writes and reads `cpuinfo.img`. */
export interface CpuCap {
  readonly fpu: boolean;
  readonly ins: boolean;
  readonly cpu: boolean;
  readonly image: boolean;
}

/** `--inherit-fd fd[N]:KEY`: our own descriptor `fd` takes the place of the resource `key`. */
export interface InheritFd {
  readonly fd: number;
  readonly key: string;
}

/** `--join-ns NS:TARGET[,OPTIONS]`. */
export interface JoinNs {
  readonly ns: string;
  readonly target: string;
  readonly options: string | undefined;
}

/** A pair such as `--cgroup-root [controller:]path` or `--ext-mount-map KEY:VALUE`; no key means "all". */
export interface KeyValue {
  readonly key: string | undefined;
  readonly value: string;
}

/**
 * The value of every option, under the name that it has in a program's options as well. Sizes are bytes, times are
 * seconds. A setting without a comment means what `--help` says of its option.
 */
export interface Settings {
  // What to work on
  /** PID of the root of the tree to dump or to check. */
  tree: number | undefined;
  /** With `exec`: the process that makes the system call. */
  pid: number | undefined;
  /** The folder of images; it exists. */
  imagesDir: string;
  /** Where logs, pidfiles and statistics go; undefined means {@link Settings.imagesDir}. */
  workDir: string | undefined;
  prevImagesDir: string | undefined;
  /** With `dump`: the archive the images go into, a file or `-` for stdout; with `migrate` HOST:PORT. */
  to: string | undefined;
  /** With `restore`: the archive the images are in, a file or `-` for stdin. */
  from: string | undefined;
  /** The file of the key that an archive is encrypted with. */
  encrypt: string | undefined;
  /** A directory for what of an archive cannot be brought to its place at once; undefined: memory. */
  spool: string | undefined;
  /** The folder of a store of snapshots; undefined: the usual one. */
  store: string | undefined;
  /** A file for the PID of the restored root, which must not exist; relative to the work directory. */
  pidfile: string | undefined;
  root: string | undefined;

  // Speaking
  /** Relative to the work directory; undefined means stderr. */
  logFile: string | undefined;
  /** How much is logged: 0 nothing, 1 errors, 2 also warnings, 3 also steps, 4 everything. */
  verbosity: LogLevel;
  logPid: boolean;
  json: boolean;
  displayStats: boolean;
  statusFd: number | undefined;

  // What becomes of the tasks
  /** After a dump the tasks are ended (`dead`), go on or are stopped; after a restore they run unless `stopped`. */
  finalState: FinalState;
  /** `-d`, `--daemon`: one and the same switch, as in CRIU. */
  detached: boolean;
  /** Compare page contents with their checksums before any task is made. */
  verify: boolean;
  /** The restored root becomes a child of our parent, not of ourselves. */
  restoreSibling: boolean;
  /** Whether `--exec-cmd` was given; the command itself is in {@link Invocation.operands}. */
  execCmd: boolean;
  /** Seconds the freeze may take; 0: as long as it takes. */
  timeout: number;
  /** Attached: whether to end with the exit code of the root, as a shell would. */
  exitCode: boolean;
  /** The directory of a freezer cgroup that has the tree in it. */
  freezeCgroup: string | undefined;
  /** Programs or shell commands to run at each point of the work; the last is run first. */
  actionScript: string[];
  /** Accept what cannot be done without being root. */
  unprivileged: boolean;
  deprecated: boolean;
  libdir: string | undefined;
  stream: boolean;
  /** `--close`: descriptors to close before anything else. */
  closeFds: number[];

  // What may be carried
  /** The root leads no session: at the restore it joins the session, group and terminal of whoever restores it. */
  shellJob: boolean;
  /** Carry file locks and leases. */
  fileLocks: boolean;
  /** Open files whose name was removed, but which have others, are given a temporary name. */
  linkRemap: boolean;
  /** Open a device by any path that leads to it. */
  evasiveDevices: boolean;
  /** The largest deleted file to save, in bytes. */
  ghostLimit: number;
  ghostFiemap: boolean;
  /** Find the paths of inotify watches by searching. */
  forceIrmap: boolean;
  /** Directories to search for them, too. */
  irmapScanPath: string[];
  /** How files are recognised at the restore. */
  fileValidation: 'filesize' | 'buildid';
  /** Restore although the permissions of a file changed. */
  skipFileRwxCheck: boolean;
  extUnixSk: boolean;
  /** The inodes of `--ext-unix-sk=ino,…`; empty means any. */
  extUnixInodes: number[];
  /** What happens to a unix stream whose peer is outside of the tree. */
  unixPeer: 'reconnect' | 'reset' | 'refuse';
  /** Addresses that are other ones after the restore. */
  inetAddrMap: KeyValue[];
  tcpEstablished: boolean;
  tcpClose: boolean;
  skipInFlight: boolean;
  networkLock: NetworkLock;
  cpuCap: CpuCap;
  weakSysctls: boolean;
  allowUprobes: boolean;
  lsmProfile: string | undefined;
  lsmMountContext: string | undefined;

  // External things
  /** The keys of `--external`, as given. */
  external: string[];
  /** Descriptors of ours that take the place of resources. */
  inheritFd: InheritFd[];
  joinNs: JoinNs[];
  newPidNs: boolean;
  emptyNetNs: boolean;
  extMountMap: KeyValue[];
  autoExtMounts: boolean;
  enableExternalSharing: boolean;
  enableExternalMasters: boolean;
  skipMnt: string[];
  enableFs: string[];
  mntnsCompatMode: boolean;
  vethPair: KeyValue[];

  // Cgroups
  /** What of the cgroups is carried. */
  manageCgroups: CgroupMode;
  /** Where the tasks' cgroups begin, for one controller (key) or all. */
  cgroupRoot: KeyValue[];
  cgroupProps: string | undefined;
  cgroupPropsFile: string | undefined;
  cgroupDumpController: string[];
  /** Where the cgroup hierarchies are already mounted. */
  cgroupYard: string | undefined;

  // Memory
  trackMem: boolean;
  preDumpMode: 'splice' | 'read';
  /** How page contents are compressed. */
  compress: 'zstd' | 'none';
  autoDedup: boolean;
  lazyPages: boolean;
  pageServer: boolean;
  address: string | undefined;
  port: number | undefined;
  psSocket: number | undefined;
  tls: boolean;
  tlsCacert: string | undefined;
  tlsCacrl: string | undefined;
  tlsCert: string | undefined;
  tlsKey: string | undefined;
  tlsNoCnVerify: boolean;
  /** The name that `address` was given as, if that was looked up: no option, but what certificates are made out to. */
  hostName: string | undefined;

  // Live migration
  /** With `migrate`: the machine on which `sshCommand` starts Stasis. */
  ssh: string | undefined;
  /** The program that connects with it, and its options. */
  sshCommand: string;
  /** With `service`: HOST:PORT where trees are taken, or `-` for stdin and stdout. */
  listen: string | undefined;
  /** Go without TLS. */
  insecure: boolean;
  /** The most rounds in which memory is copied while the tree runs. */
  rounds: number;
  /** With at most so many bytes the tree is frozen. */
  lastRound: number | undefined;
  /** Compare the contents of files, too. */
  checkFiles: boolean;
  /** Send along files that the other side does not have. */
  withFiles: boolean;
  /** Bring memory when the tree runs there. */
  lazy: boolean;

  // check
  /** The names of the features to check; none: all. */
  feature: string[];
  /** Check also what only some programs need. */
  extra: boolean;
  /** Check also what is new. */
  experimental: boolean;
}

/** CRIU's defaults. A fresh object each time: the parser fills it in. */
export function defaultSettings(): Settings {
  return {
    tree: undefined,
    pid: undefined,
    imagesDir: '.',
    workDir: undefined,
    prevImagesDir: undefined,
    to: undefined,
    from: undefined,
    encrypt: undefined,
    spool: undefined,
    store: undefined,
    pidfile: undefined,
    root: undefined,
    logFile: undefined,
    verbosity: 2,
    logPid: false,
    json: false,
    displayStats: false,
    statusFd: undefined,
    finalState: 'dead',
    detached: false,
    verify: false,
    restoreSibling: false,
    execCmd: false,
    timeout: 10,
    exitCode: false,
    freezeCgroup: undefined,
    actionScript: [],
    unprivileged: false,
    deprecated: false,
    libdir: undefined,
    stream: false,
    closeFds: [],
    shellJob: false,
    fileLocks: false,
    linkRemap: false,
    evasiveDevices: false,
    ghostLimit: 1 << 20,
    ghostFiemap: true,
    forceIrmap: false,
    irmapScanPath: [],
    fileValidation: 'buildid',
    skipFileRwxCheck: false,
    extUnixSk: false,
    extUnixInodes: [],
    unixPeer: 'refuse',
    inetAddrMap: [],
    tcpEstablished: false,
    tcpClose: false,
    skipInFlight: false,
    networkLock: 'nftables',
    cpuCap: { fpu: true, ins: true, cpu: false, image: false },
    weakSysctls: false,
    allowUprobes: false,
    lsmProfile: undefined,
    lsmMountContext: undefined,
    external: [],
    inheritFd: [],
    joinNs: [],
    newPidNs: false,
    emptyNetNs: false,
    extMountMap: [],
    autoExtMounts: false,
    enableExternalSharing: false,
    enableExternalMasters: false,
    skipMnt: [],
    enableFs: [],
    mntnsCompatMode: false,
    vethPair: [],
    manageCgroups: 'soft',
    cgroupRoot: [],
    cgroupProps: undefined,
    cgroupPropsFile: undefined,
    cgroupDumpController: [],
    cgroupYard: undefined,
    trackMem: false,
    preDumpMode: 'splice',
    compress: 'none',
    autoDedup: false,
    lazyPages: false,
    pageServer: false,
    address: undefined,
    port: undefined,
    psSocket: undefined,
    tls: false,
    tlsCacert: undefined,
    tlsCacrl: undefined,
    tlsCert: undefined,
    tlsKey: undefined,
    tlsNoCnVerify: false,
    hostName: undefined,
    ssh: undefined,
    sshCommand: 'ssh',
    listen: undefined,
    insecure: false,
    rounds: 10,
    lastRound: undefined,
    checkFiles: false,
    withFiles: false,
    lazy: false,
    feature: [],
    extra: false,
    experimental: false,
  };
}
