/**
 * What the user asked for, typed: every option's value, CRIU's default where none was given.
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
  | 'lazy-pages'
  | 'dedup'
  | 'cpuinfo dump'
  | 'cpuinfo check'
  | 'show';

/** What becomes of the tasks afterwards. `dead` is the default after a dump; after a restore it means "running". */
export type FinalState = 'dead' | 'running' | 'stopped';

/** `--manage-cgroups`: how much of the tasks' cgroups is saved and rebuilt. */
export type CgroupMode = 'ignore' | 'none' | 'props' | 'soft' | 'full' | 'strict';

/** `--network-lock`: how connections are held still while their owner is away. */
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

/** Every option's value. Sizes are bytes, times are seconds. */
export interface Settings {
  // What to work on
  tree: number | undefined;
  pid: number | undefined;
  imagesDir: string;
  /** Where logs, pidfiles and statistics go; undefined means {@link Settings.imagesDir}. */
  workDir: string | undefined;
  prevImagesDir: string | undefined;
  pidfile: string | undefined;
  root: string | undefined;

  // Speaking
  /** Relative to the work directory; undefined means stderr. */
  logFile: string | undefined;
  verbosity: LogLevel;
  logPid: boolean;
  json: boolean;
  displayStats: boolean;
  statusFd: number | undefined;

  // What becomes of the tasks
  finalState: FinalState;
  /** `-d`, `--daemon`: one and the same switch, as in CRIU. */
  detached: boolean;
  verify: boolean;
  restoreSibling: boolean;
  /** Whether `--exec-cmd` was given; the command itself is in {@link Invocation.operands}. */
  execCmd: boolean;
  /** Seconds the freeze may take. */
  timeout: number;
  /** Attached: whether to end with the exit code of the root, as a shell would. */
  exitCode: boolean;
  freezeCgroup: string | undefined;
  actionScript: string[];
  unprivileged: boolean;
  deprecated: boolean;
  libdir: string | undefined;
  stream: boolean;
  /** `--close`: descriptors to close before anything else. */
  closeFds: number[];

  // What may be carried
  shellJob: boolean;
  fileLocks: boolean;
  linkRemap: boolean;
  evasiveDevices: boolean;
  ghostLimit: number;
  ghostFiemap: boolean;
  forceIrmap: boolean;
  irmapScanPath: string[];
  fileValidation: 'filesize' | 'buildid';
  skipFileRwxCheck: boolean;
  extUnixSk: boolean;
  /** The inodes of `--ext-unix-sk=ino,…`; empty means any. */
  extUnixInodes: number[];
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
  inheritFd: InheritFd[];
  joinNs: JoinNs[];
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
  manageCgroups: CgroupMode;
  cgroupRoot: KeyValue[];
  cgroupProps: string | undefined;
  cgroupPropsFile: string | undefined;
  cgroupDumpController: string[];
  cgroupYard: string | undefined;

  // Memory
  trackMem: boolean;
  preDumpMode: 'splice' | 'read';
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

  // check
  feature: string[];
  extra: boolean;
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
    tcpEstablished: false,
    tcpClose: false,
    skipInFlight: false,
    networkLock: 'iptables',
    cpuCap: { fpu: true, ins: true, cpu: false, image: false },
    weakSysctls: false,
    allowUprobes: false,
    lsmProfile: undefined,
    lsmMountContext: undefined,
    external: [],
    inheritFd: [],
    joinNs: [],
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
    feature: [],
    extra: false,
    experimental: false,
  };
}
