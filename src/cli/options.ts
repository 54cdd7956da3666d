/**
 * The one table of options. The parser, the configuration files, the help text and the RPC service all read it,
 * so an option is added, renamed or declared built in one place.
 *
 * CRIU accepts an option with any command; so do we, where the option has no meaning for the command (`used`).
 * Where it has one but is not built yet (`built`), it is refused by name.
 */

import type { Command, FinalState, Settings } from './settings.ts';

/** The settings a value of type `T` may be written to. */
type KeyFor<T> = { [K in keyof Settings]: T extends Settings[K] ? K : never }[keyof Settings];
/** The settings that collect values of type `T`, one for each time the option is given. */
type ListOf<T> = { [K in keyof Settings]: Settings[K] extends T[] ? K : never }[keyof Settings];

/** What an option's argument is, and where it goes. */
export type OptionValue =
  | { readonly type: 'flag'; readonly key: KeyFor<boolean> }
  | { readonly type: 'flags'; readonly keys: readonly KeyFor<boolean>[] }
  | { readonly type: 'text'; readonly key: KeyFor<string> }
  | { readonly type: 'texts'; readonly key: ListOf<string> }
  | { readonly type: 'commaTexts'; readonly key: ListOf<string> }
  | { readonly type: 'number'; readonly key: KeyFor<number>; readonly least: number; readonly most?: number }
  | { readonly type: 'size'; readonly key: KeyFor<number> }
  | { readonly type: 'choice'; readonly key: keyof Settings; readonly choices: Choices; readonly bare?: string }
  | { readonly type: 'state'; readonly state: FinalState }
  | { readonly type: 'verbosity' }
  | { readonly type: 'cpuCap' }
  | { readonly type: 'unixInodes' }
  | { readonly type: 'inheritFd' }
  | { readonly type: 'joinNs' }
  | { readonly type: 'extMountMap' }
  | { readonly type: 'cgroupRoot' }
  | { readonly type: 'vethPair' }
  | { readonly type: 'closeFd' }
  | { readonly type: 'emptyNs' }
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
  /** The argument may be left out, and must be attached when given: `--long=VALUE`, `-sVALUE`. */
  readonly argOptional?: true;
  /** Also exists as `--no-LONG`. */
  readonly negatable?: true;
  /** Ours, not CRIU's: takes no part in abbreviations, so that CRIU's keep their meaning. */
  readonly own?: true;
  readonly value: OptionValue;
  /** The commands it has a meaning for. */
  readonly used: readonly Command[];
  /** The commands that honour it. Used but not built: refused by name. */
  readonly built: readonly Command[];
  /** The field of `criu_opts` that says the same over RPC: number and name. */
  readonly rpc?: readonly [number, string];
  readonly help: string;
}

// Who uses an option; spelled out once, so that a row stays a row.
const DUMP: readonly Command[] = ['dump'];
const DUMPS: readonly Command[] = ['dump', 'pre-dump'];
const RESTORE: readonly Command[] = ['restore'];
const BOTH: readonly Command[] = ['dump', 'restore'];
const CHECK: readonly Command[] = ['check'];
const EXEC: readonly Command[] = ['exec'];
const PAGES: readonly Command[] = ['dump', 'pre-dump', 'lazy-pages', 'page-server'];
const SERVERS: readonly Command[] = ['service', 'page-server', 'lazy-pages'];
// biome-ignore format: names in a row
const ALL: readonly Command[] = [
  'dump', 'pre-dump', 'restore', 'check', 'exec', 'service', 'page-server', 'lazy-pages', 'dedup',
  'cpuinfo dump', 'cpuinfo check',
];
const NONE: readonly Command[] = [];

/** Every option of CRIU 4.2, and ours. */
// biome-ignore format: a table is read row by row
export const OPTIONS: readonly OptionRow[] = [
  { group: 'Tasks', long: 'tree', short: 't', arg: 'PID', value: { type: 'number', key: 'tree', least: 1 },
    used: [...DUMPS, 'check'], built: ['dump', 'check'], rpc: [2, 'pid'],
    help: 'the root of the tree to dump; with check: what stands in the way of dumping it' },
  { group: 'Tasks', long: 'pid', short: 'p', arg: 'PID', own: true, value: { type: 'number', key: 'pid', least: 1 },
    used: EXEC, built: EXEC,
    help: 'with exec: the process that runs the syscall' },
  { group: 'Tasks', long: 'leave-running', short: 'R', value: { type: 'state', state: 'running' },
    used: BOTH, built: BOTH, rpc: [3, 'leave_running'],
    help: 'let the tasks run on after the dump' },
  { group: 'Tasks', long: 'leave-stopped', short: 's', value: { type: 'state', state: 'stopped' },
    used: BOTH, built: BOTH, rpc: [69, 'leave_stopped'],
    help: 'leave the tasks stopped after the dump or the restore' },
  { group: 'Tasks', long: 'restore-detached', short: 'd', negatable: true, value: { type: 'flag', key: 'detached' },
    used: RESTORE, built: RESTORE,
    help: 'end when the tasks run; else stay their parent until they are gone' },
  { group: 'Tasks', long: 'restore-sibling', short: 'S', negatable: true,
    value: { type: 'flag', key: 'restoreSibling' }, used: RESTORE, built: RESTORE, rpc: [26, 'rst_sibling'],
    help: 'make the restored root a sibling instead of a child; needs -d' },
  { group: 'Tasks', long: 'exec-cmd', value: { type: 'flag', key: 'execCmd' }, used: RESTORE, built: RESTORE,
    rpc: [22, 'exec_cmd'],
    help: 'after a restore, become the command given after "--", as parent of the tree' },
  { group: 'Tasks', long: 'shell-job', short: 'j', negatable: true, value: { type: 'flag', key: 'shellJob' },
    used: [...DUMPS, ...RESTORE], built: BOTH, rpc: [7, 'shell_job'],
    help: 'the root leads no session: its session, group and terminal are ours at restore' },
  { group: 'Tasks', long: 'timeout', arg: 'SECONDS', value: { type: 'number', key: 'timeout', least: 0 },
    used: DUMPS, built: DUMP, rpc: [45, 'timeout'],
    help: 'how long freezing the tasks may take (10)' },
  { group: 'Tasks', long: 'action-script', arg: 'FILE', value: { type: 'texts', key: 'actionScript' },
    used: [...DUMPS, ...RESTORE], built: BOTH,
    help: 'a program to run at each step of the work; may be given several times' },
  { group: 'Tasks', long: 'cpu-cap', arg: 'LIST', argOptional: true, value: { type: 'cpuCap' },
    used: BOTH, built: BOTH, rpc: [20, 'cpu_cap'],
    help: 'the CPU facts that must agree at restore: cpu, fpu, ins, all, none, ^X for all but X (fpu,ins)' },
  { group: 'Tasks', long: 'allow-uprobes', negatable: true, value: { type: 'flag', key: 'allowUprobes' },
    used: BOTH, built: NONE,
    help: 'accept tasks with the mapping of user-space probes' },
  { group: 'Tasks', long: 'unprivileged', negatable: true, value: { type: 'flag', key: 'unprivileged' },
    used: ALL, built: ALL, rpc: [67, 'unprivileged'],
    help: 'work without being root, within the limits of that' },

  { group: 'Directories and files', long: 'images-dir', short: 'D', arg: 'DIR', value: { type: 'text', key: 'imagesDir' },
    used: ALL, built: ALL, rpc: [68, 'images_dir'],
    help: 'where the images are (the current directory)' },
  { group: 'Directories and files', long: 'work-dir', short: 'W', arg: 'DIR', value: { type: 'text', key: 'workDir' },
    used: ALL, built: ALL,
    help: 'where logs, pidfiles and statistics go (the images directory)' },
  { group: 'Directories and files', long: 'pidfile', arg: 'FILE', value: { type: 'text', key: 'pidfile' },
    used: ['restore', ...SERVERS], built: RESTORE,
    help: 'write the PID of the restored root, or of the server, to FILE' },
  { group: 'Directories and files', long: 'prev-images-dir', arg: 'DIR', value: { type: 'text', key: 'prevImagesDir' },
    used: DUMPS, built: NONE, rpc: [14, 'parent_img'],
    help: 'the images of an earlier pre-dump, relative to the images directory' },
  { group: 'Directories and files', long: 'stream', negatable: true, value: { type: 'flag', key: 'stream' },
    used: ['dump', 'pre-dump', 'restore'], built: NONE,
    help: 'pass images through criu-image-streamer' },
  { group: 'Directories and files', long: 'libdir', short: 'L', arg: 'DIR', value: { type: 'text', key: 'libdir' },
    used: BOTH, built: BOTH,
    help: 'a directory of C plugins; Stasis loads none and says so if it holds any' },

  { group: 'Logging', long: 'log-file', short: 'o', arg: 'FILE', value: { type: 'text', key: 'logFile' },
    used: ALL, built: ALL, rpc: [10, 'log_file'],
    help: 'the log, relative to the work directory; - for stdout (stderr)' },
  { group: 'Logging', long: 'verbosity', short: 'v', arg: 'N', argOptional: true, value: { type: 'verbosity' },
    used: ALL, built: ALL, rpc: [9, 'log_level'],
    help: '1 errors, 2 also warnings, 3 also the steps, 4 everything; without N one more than before (2)' },
  { group: 'Logging', long: 'log-pid', negatable: true, value: { type: 'flag', key: 'logPid' },
    used: RESTORE, built: RESTORE,
    help: 'accepted; one process does all the work here, so there is one log' },
  { group: 'Logging', long: 'display-stats', negatable: true, value: { type: 'flag', key: 'displayStats' },
    used: BOTH, built: BOTH, rpc: [70, 'display_stats'],
    help: 'print the statistics at the end' },
  { group: 'Logging', long: 'json', own: true, value: { type: 'flag', key: 'json' }, used: ALL, built: ALL,
    help: 'errors as one JSON object on stderr' },

  { group: 'Files of the tasks', long: 'file-locks', short: 'l', negatable: true,
    value: { type: 'flag', key: 'fileLocks' }, used: BOTH, built: BOTH, rpc: [8, 'file_locks'],
    help: 'carry file locks and leases' },
  { group: 'Files of the tasks', long: 'link-remap', negatable: true, value: { type: 'flag', key: 'linkRemap' },
    used: BOTH, built: BOTH, rpc: [18, 'link_remap'],
    help: 'give open files whose name was removed, but which have others, a temporary name' },
  { group: 'Files of the tasks', long: 'ghost-limit', arg: 'SIZE', value: { type: 'size', key: 'ghostLimit' },
    used: DUMP, built: DUMP, rpc: [35, 'ghost_limit'],
    help: 'the largest deleted file to save, with K, M or G (1M)' },
  { group: 'Files of the tasks', long: 'ghost-fiemap', negatable: true, value: { type: 'flag', key: 'ghostFiemap' },
    used: DUMP, built: DUMP,
    help: 'find the holes of deleted files by their extents (on); Stasis always asks the file system for them' },
  { group: 'Files of the tasks', long: 'evasive-devices', negatable: true,
    value: { type: 'flag', key: 'evasiveDevices' }, used: BOTH, built: BOTH, rpc: [6, 'evasive_devices'],
    help: 'open a device by any path that leads to it' },
  { group: 'Files of the tasks', long: 'file-validation', arg: 'HOW',
    value: { type: 'choice', key: 'fileValidation', choices: { filesize: 'filesize', buildid: 'buildid' } },
    used: BOTH, built: BOTH,
    help: 'how files are recognised at restore: filesize or buildid (buildid)' },
  { group: 'Files of the tasks', long: 'skip-file-rwx-check', negatable: true,
    value: { type: 'flag', key: 'skipFileRwxCheck' }, used: RESTORE, built: RESTORE, rpc: [66, 'skip_file_rwx_check'],
    help: 'restore although the permissions of a file changed' },
  { group: 'Files of the tasks', long: 'force-irmap', negatable: true, value: { type: 'flag', key: 'forceIrmap' },
    used: DUMPS, built: DUMP, rpc: [21, 'force_irmap'],
    help: 'find the paths of inotify watches by searching' },
  { group: 'Files of the tasks', long: 'irmap-scan-path', arg: 'DIR', value: { type: 'texts', key: 'irmapScanPath' },
    used: DUMPS, built: DUMP, rpc: [36, 'irmap_scan_paths'],
    help: 'search here for the paths of inotify watches, too' },

  { group: 'Sockets and network', long: 'tcp-established', negatable: true,
    value: { type: 'flag', key: 'tcpEstablished' }, used: BOTH, built: BOTH, rpc: [5, 'tcp_established'],
    help: 'carry established TCP connections' },
  { group: 'Sockets and network', long: 'tcp-close', negatable: true, value: { type: 'flag', key: 'tcpClose' },
    used: BOTH, built: BOTH, rpc: [52, 'tcp_close'],
    help: 'let established TCP connections go; they are closed sockets after the restore' },
  { group: 'Sockets and network', long: 'skip-in-flight', negatable: true, value: { type: 'flag', key: 'skipInFlight' },
    used: DUMP, built: DUMP, rpc: [46, 'tcp_skip_in_flight'],
    help: 'ignore connections nobody has accepted yet' },
  { group: 'Sockets and network', long: 'ext-unix-sk', short: 'x', arg: 'INODES', argOptional: true,
    value: { type: 'unixInodes' }, used: BOTH, built: BOTH, rpc: [4, 'ext_unix_sk'],
    help: 'allow Unix sockets whose peer is outside the tree; all, or those with these inodes' },
  { group: 'Sockets and network', long: 'network-lock', arg: 'HOW',
    value: { type: 'choice', key: 'networkLock',
      choices: { iptables: 'iptables', nftables: 'nftables', skip: 'skip', none: 'skip' } },
    used: DUMP, built: DUMP, rpc: [64, 'network_lock'],
    help: 'how connections are held meanwhile: iptables, nftables or skip (iptables)' },
  { group: 'Sockets and network', long: 'veth-pair', arg: 'IN=OUT', value: { type: 'vethPair' },
    used: RESTORE, built: NONE, rpc: [19, 'veths'],
    help: 'the outer name of a veth device; --external veth[IN]:OUT replaces it' },

  { group: 'External resources', long: 'external', arg: 'KEY', value: { type: 'texts', key: 'external' },
    used: BOTH, built: BOTH, rpc: [37, 'external'],
    help: 'a resource the tree shares with the outside: tty[rdev:dev], file[mnt_id:inode], unix[inode], '
      + 'dev[major/minor]:NAME, mnt[PATH]:NAME, net[inode]:NAME, pid[inode]:NAME; at restore dev[NAME]:PATH, '
      + 'mnt[NAME]:PATH, veth[IN]:OUT@BRIDGE, macvlan[IN]:OUT, netdev[IN]:OUT' },
  { group: 'External resources', long: 'inherit-fd', arg: 'fd[N]:KEY', value: { type: 'inheritFd' },
    used: RESTORE, built: RESTORE, rpc: [27, 'inherit_fd'],
    help: 'our descriptor N is KEY: tty[rdev:dev], pipe:[inode], socket:[inode], file[mnt_id:inode], '
      + '/memfd:NAME, path/without/leading/slash, or the NAME of a namespace' },
  { group: 'External resources', long: 'join-ns', short: 'J', arg: 'NS:TARGET', value: { type: 'joinNs' },
    used: RESTORE, built: NONE, rpc: [39, 'join_ns'],
    help: 'restore into the namespace of a PID or file: net, uts, ipc, time, mnt or user[,UID,GID]' },

  { group: 'Namespaces and mounts', long: 'root', short: 'r', arg: 'DIR', value: { type: 'text', key: 'root' },
    used: BOTH, built: BOTH, rpc: [13, 'root'],
    help: 'the root directory of a tree with its own mounts' },
  { group: 'Namespaces and mounts', long: 'empty-ns', arg: 'net', value: { type: 'emptyNs' },
    used: BOTH, built: NONE, rpc: [38, 'empty_ns'],
    help: 'create the network namespace, leave its contents to an action script' },
  { group: 'Namespaces and mounts', long: 'ext-mount-map', short: 'M', arg: 'KEY:VALUE', value: { type: 'extMountMap' },
    used: BOTH, built: NONE, rpc: [23, 'ext_mnt'],
    help: 'an external mount, or auto; --external mnt[PATH] replaces it' },
  { group: 'Namespaces and mounts', long: 'enable-external-sharing',
    value: { type: 'flag', key: 'enableExternalSharing' }, used: BOTH, built: NONE, rpc: [29, 'ext_sharing'],
    help: 'auto-detected external mounts may be shared' },
  { group: 'Namespaces and mounts', long: 'enable-external-masters',
    value: { type: 'flag', key: 'enableExternalMasters' }, used: BOTH, built: NONE, rpc: [30, 'ext_masters'],
    help: 'auto-detected external mounts may be slaves' },
  { group: 'Namespaces and mounts', long: 'skip-mnt', arg: 'PATH', value: { type: 'texts', key: 'skipMnt' },
    used: BOTH, built: NONE, rpc: [31, 'skip_mnt'],
    help: 'leave out this mount' },
  { group: 'Namespaces and mounts', long: 'enable-fs', arg: 'NAMES', value: { type: 'commaTexts', key: 'enableFs' },
    used: BOTH, built: NONE, rpc: [32, 'enable_fs'],
    help: 'file systems that are simply mounted again; or all' },
  { group: 'Namespaces and mounts', long: 'mntns-compat-mode', negatable: true,
    value: { type: 'flag', key: 'mntnsCompatMode' }, used: RESTORE, built: RESTORE, rpc: [65, 'mntns_compat_mode'],
    help: 'rebuild mounts the way older kernels need' },
  { group: 'Namespaces and mounts', long: 'weak-sysctls', negatable: true, value: { type: 'flag', key: 'weakSysctls' },
    used: RESTORE, built: RESTORE, rpc: [47, 'weak_sysctls'],
    help: 'go on when a sysctl does not exist here' },

  { group: 'Cgroups and security', long: 'manage-cgroups', arg: 'MODE', argOptional: true,
    value: { type: 'choice', key: 'manageCgroups', bare: 'soft',
      choices: { none: 'none', props: 'props', soft: 'soft', full: 'full', strict: 'strict', ignore: 'ignore' } },
    used: BOTH, built: BOTH, rpc: [34, 'manage_cgroups_mode'],
    help: 'what of the cgroups is carried: none, props, soft, full, strict, ignore (soft)' },
  { group: 'Cgroups and security', long: 'cgroup-root', arg: '[CTL:]PATH', value: { type: 'cgroupRoot' },
    used: BOTH, built: BOTH, rpc: [25, 'cg_root'],
    help: 'where the tasks\' cgroups begin, for one controller or all' },
  { group: 'Cgroups and security', long: 'cgroup-props', arg: 'TEXT', value: { type: 'text', key: 'cgroupProps' },
    used: DUMP, built: NONE, rpc: [41, 'cgroup_props'],
    help: 'further controllers and properties to carry, as simple YAML' },
  { group: 'Cgroups and security', long: 'cgroup-props-file', arg: 'FILE', value: { type: 'text', key: 'cgroupPropsFile' },
    used: DUMP, built: NONE, rpc: [42, 'cgroup_props_file'],
    help: 'the same, from a file' },
  { group: 'Cgroups and security', long: 'cgroup-dump-controller', arg: 'NAME',
    value: { type: 'texts', key: 'cgroupDumpController' }, used: DUMP, built: NONE, rpc: [43, 'cgroup_dump_controller'],
    help: 'carry this controller only; may be given several times' },
  { group: 'Cgroups and security', long: 'cgroup-yard', arg: 'DIR', value: { type: 'text', key: 'cgroupYard' },
    used: BOTH, built: BOTH, rpc: [60, 'cgroup_yard'],
    help: 'where the cgroup hierarchies are already mounted' },
  { group: 'Cgroups and security', long: 'freeze-cgroup', arg: 'DIR', value: { type: 'text', key: 'freezeCgroup' },
    used: DUMPS, built: DUMP, rpc: [44, 'freeze_cgroup'],
    help: 'freeze the tasks with this freezer cgroup' },
  { group: 'Cgroups and security', long: 'lsm-profile', arg: 'TYPE:NAME', value: { type: 'text', key: 'lsmProfile' },
    used: BOTH, built: NONE, rpc: [53, 'lsm_profile'],
    help: 'the security profile of the restored tasks: apparmor:NAME, selinux:NAME, none:' },
  { group: 'Cgroups and security', long: 'lsm-mount-context', arg: 'CONTEXT',
    value: { type: 'text', key: 'lsmMountContext' }, used: RESTORE, built: NONE, rpc: [63, 'lsm_mount_context'],
    help: 'replaces the security context of mounts that have one' },

  { group: 'Memory', long: 'track-mem', negatable: true, value: { type: 'flag', key: 'trackMem' },
    used: DUMPS, built: NONE, rpc: [15, 'track_mem'],
    help: 'note from now on which pages change' },
  { group: 'Memory', long: 'pre-dump-mode', arg: 'MODE',
    value: { type: 'choice', key: 'preDumpMode', choices: { splice: 'splice', read: 'read' } },
    used: ['pre-dump'], built: NONE, rpc: [61, 'pre_dump_mode'],
    help: 'how a pre-dump reads memory: splice or read (splice)' },
  { group: 'Memory', long: 'auto-dedup', negatable: true, value: { type: 'flag', key: 'autoDedup' },
    used: ['dump', 'pre-dump', 'restore', 'page-server'], built: NONE, rpc: [16, 'auto_dedup'],
    help: 'free what earlier images hold in vain; at restore, what has been restored' },
  { group: 'Memory', long: 'lazy-pages', value: { type: 'flag', key: 'lazyPages' },
    used: [...DUMPS, ...RESTORE, 'page-server'], built: NONE, rpc: [48, 'lazy_pages'],
    help: 'bring pages when they are needed; needs a lazy-pages daemon' },

  { group: 'Page server and service', long: 'page-server', negatable: true, value: { type: 'flag', key: 'pageServer' },
    used: PAGES, built: NONE, rpc: [11, 'ps'],
    help: 'send pages to, or fetch them from, a page server' },
  { group: 'Page server and service', long: 'address', arg: 'ADDRESS', value: { type: 'text', key: 'address' },
    used: [...PAGES, 'service'], built: NONE, rpc: [11, 'ps'],
    help: 'of the server or the service' },
  { group: 'Page server and service', long: 'port', arg: 'PORT',
    value: { type: 'number', key: 'port', least: 1, most: 65535 }, used: PAGES, built: NONE, rpc: [11, 'ps'],
    help: 'of the page server' },
  { group: 'Page server and service', long: 'ps-socket', arg: 'FD', value: { type: 'number', key: 'psSocket', least: 0 },
    used: PAGES, built: NONE, rpc: [11, 'ps'],
    help: 'the connection to the page server is this descriptor' },
  { group: 'Page server and service', long: 'daemon', negatable: true, value: { type: 'flag', key: 'detached' },
    used: SERVERS, built: NONE,
    help: 'go to the background when ready' },
  { group: 'Page server and service', long: 'status-fd', arg: 'FD',
    value: { type: 'number', key: 'statusFd', least: 0 }, used: SERVERS, built: NONE, rpc: [49, 'status_fd'],
    help: 'write one zero byte to this descriptor when ready' },
  { group: 'Page server and service', long: 'tls', negatable: true, value: { type: 'flag', key: 'tls' },
    used: PAGES, built: NONE, rpc: [58, 'tls'],
    help: 'encrypt the connection' },
  { group: 'Page server and service', long: 'tls-cacert', arg: 'FILE', value: { type: 'text', key: 'tlsCacert' },
    used: PAGES, built: NONE, rpc: [54, 'tls_cacert'],
    help: 'trust certificates of this authority only' },
  { group: 'Page server and service', long: 'tls-cacrl', arg: 'FILE', value: { type: 'text', key: 'tlsCacrl' },
    used: PAGES, built: NONE, rpc: [55, 'tls_cacrl'],
    help: 'certificates no longer trusted' },
  { group: 'Page server and service', long: 'tls-cert', arg: 'FILE', value: { type: 'text', key: 'tlsCert' },
    used: PAGES, built: NONE, rpc: [56, 'tls_cert'],
    help: 'our certificate' },
  { group: 'Page server and service', long: 'tls-key', arg: 'FILE', value: { type: 'text', key: 'tlsKey' },
    used: PAGES, built: NONE, rpc: [57, 'tls_key'],
    help: 'our private key' },
  { group: 'Page server and service', long: 'tls-no-cn-verify', value: { type: 'flag', key: 'tlsNoCnVerify' },
    used: PAGES, built: NONE, rpc: [59, 'tls_no_cn_verify'],
    help: 'accept a certificate made out to another name' },

  { group: 'Checks', long: 'feature', arg: 'NAME', value: { type: 'texts', key: 'feature' }, used: CHECK, built: CHECK,
    help: 'check one feature only; list names them all' },
  { group: 'Checks', long: 'extra', negatable: true, value: { type: 'flag', key: 'extra' }, used: CHECK, built: CHECK,
    help: 'check also what only some programs need' },
  { group: 'Checks', long: 'experimental', negatable: true, value: { type: 'flag', key: 'experimental' },
    used: CHECK, built: CHECK,
    help: 'check also what is new' },
  { group: 'Checks', long: 'all', value: { type: 'flags', keys: ['extra', 'experimental'] }, used: CHECK, built: CHECK,
    help: '--extra and --experimental' },
  { group: 'Checks', long: 'ms', value: { type: 'removed', remedy: 'use --extra, --experimental or --all' },
    used: CHECK, built: CHECK,
    help: 'gone; see --extra' },

  { group: 'Configuration', long: 'config', arg: 'FILE', value: { type: 'command line' }, used: ALL, built: ALL,
    rpc: [51, 'config_file'],
    help: 'read options from FILE instead of the default configuration files' },
  { group: 'Configuration', long: 'no-default-config', value: { type: 'command line' }, used: ALL, built: ALL,
    help: 'read no default configuration file' },
  { group: 'Configuration', long: 'deprecated', negatable: true, value: { type: 'flag', key: 'deprecated' },
    used: ALL, built: ALL,
    help: 'allow what is about to go' },
  { group: 'Configuration', long: 'close', arg: 'FD', value: { type: 'closeFd' }, used: ALL, built: ALL,
    help: 'close this descriptor first' },

  { group: 'General', long: 'help', short: 'h', value: { type: 'command line' }, used: ALL, built: ALL,
    help: 'this text' },
  { group: 'General', long: 'version', short: 'V', value: { type: 'command line' }, used: ALL, built: ALL,
    help: 'the version' },
];
