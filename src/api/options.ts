/**
 * The one table of options. The command line, configuration files, the help text, the manual page, the shell
 * completions, the programming interface and the RPC service all read it, so an option is added, renamed or declared
 * built in one place.
 *
 * CRIU accepts any option with any command. Here each row says, for each command, what giving the option comes to: it
 * changes something (`built`); it will, and is refused by name until then (`later`); it is accepted although nothing
 * changes, with the reason why nothing is lost by that (`idle`). With any other command it is refused as having no
 * meaning there.
 */

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

// The commands of a row, spelled out once, so that a row stays a row.
const NONE = [] as const;
const DUMP = ['dump'] as const;
const DUMPS = ['dump', 'pre-dump'] as const;
const RESTORE = ['restore'] as const;
const BOTH = ['dump', 'restore'] as const;
const CHECK = ['check'] as const;
/** A check of a task looks at it as a dump would. */
const SAVING = ['dump', 'check'] as const;
const CARRYING = ['dump', 'restore', 'check'] as const;
const EXEC = ['exec'] as const;
const PAGES = ['dump', 'pre-dump', 'lazy-pages', 'page-server'] as const;
const SERVERS = ['service', 'page-server', 'lazy-pages'] as const;
/** Not built, and refused as a whole; until then they only open their log. */
// biome-ignore format: names in a row
const UNBUILT = [
  'pre-dump', 'service', 'swrk', 'page-server', 'lazy-pages', 'dedup', 'cpuinfo dump', 'cpuinfo check',
] as const;
const WORKING = [...CARRYING, ...UNBUILT] as const;
const ALL = [...WORKING, 'exec'] as const;

// Why an option may be given where it changes nothing.
const SAME_OPTIONS = 'callers give the commands of one job the same options, and this one is a matter of another';
const NO_CONNECTIONS = 'no connections are carried yet; a tree that has any is refused by name';

// biome-ignore format: a table is read row by row
const TABLE = [
  { group: 'Tasks', long: 'tree', short: 't', arg: 'PID', completes: 'process',
    value: { type: 'number', key: 'tree', least: 1 },
    rpc: [2, 'pid'], built: ['dump', 'check'], later: ['pre-dump'],
    idle: { in: RESTORE, because: 'the images say which processes there were' },
    help: 'the root of the tree to dump; with check: what stands in the way of dumping it' },
  { group: 'Tasks', long: 'pid', short: 'p', arg: 'PID', completes: 'process', own: true,
    value: { type: 'number', key: 'pid', least: 1 },
    built: EXEC,
    help: 'with exec: the process that runs the syscall' },
  { group: 'Tasks', long: 'leave-running', short: 'R', value: { type: 'state', key: 'finalState', state: 'running' },
    rpc: [3, 'leave_running'], built: ['dump', 'check'],
    idle: { in: RESTORE, because: 'after a restore the tasks run in any case' },
    help: 'let the tasks run on after the dump' },
  { group: 'Tasks', long: 'leave-stopped', short: 's', value: { type: 'state', key: 'finalState', state: 'stopped' },
    rpc: [69, 'leave_stopped'], built: BOTH,
    help: 'leave the tasks stopped after the dump or the restore' },
  { group: 'Tasks', long: 'restore-detached', short: 'd', terminal: true, negatable: true,
    value: { type: 'flag', key: 'detached' },
    built: RESTORE,
    help: 'end when the tasks run; else stay their parent until they are gone' },
  { group: 'Tasks', long: 'exit-code', own: true, value: { type: 'flag', key: 'exitCode' },
    built: RESTORE,
    help: 'without -d, end with the exit code of the restored root, or 128 and the signal that ended it; else with 0' },
  { group: 'Tasks', long: 'restore-sibling', short: 'S', negatable: true,
    value: { type: 'flag', key: 'restoreSibling' },
    rpc: [26, 'rst_sibling'], built: RESTORE,
    help: 'make the restored root a sibling instead of a child; needs -d' },
  { group: 'Tasks', long: 'exec-cmd', terminal: true, value: { type: 'flag', key: 'execCmd' },
    rpc: [22, 'exec_cmd'], built: RESTORE,
    help: 'after a restore, become the command given after "--", as parent of the tree' },
  { group: 'Tasks', long: 'shell-job', short: 'j', negatable: true, value: { type: 'flag', key: 'shellJob' },
    rpc: [7, 'shell_job'], built: CARRYING, later: ['pre-dump'],
    help: 'the root leads no session: its session, group and terminal are ours at restore' },
  { group: 'Tasks', long: 'timeout', arg: 'SECONDS', value: { type: 'number', key: 'timeout', least: 0 },
    rpc: [45, 'timeout'], built: ['dump', 'exec'], later: ['pre-dump'],
    idle: { in: ['restore', 'check'], because: 'nothing is frozen' },
    help: 'how long freezing the tasks, or with exec the syscall, may take; 0 for as long as it likes (10)' },
  { group: 'Tasks', long: 'action-script', arg: 'FILE', completes: 'file',
    value: { type: 'texts', key: 'actionScript' },
    built: BOTH, later: ['pre-dump'],
    help: 'a program to run at each step of the work; may be given several times' },
  { group: 'Tasks', long: 'cpu-cap', arg: 'LIST', argOptional: true, value: { type: 'cpuCap', key: 'cpuCap' },
    rpc: [20, 'cpu_cap'], built: NONE, later: BOTH,
    help: 'the CPU facts that must agree at restore: cpu, fpu, ins, all, none, ^X for all but X (fpu,ins)' },
  { group: 'Tasks', long: 'allow-uprobes', negatable: true, value: { type: 'flag', key: 'allowUprobes' },
    built: NONE, later: BOTH,
    help: 'accept tasks with the mapping of user-space probes' },
  { group: 'Tasks', long: 'unprivileged', negatable: true, value: { type: 'flag', key: 'unprivileged' },
    rpc: [67, 'unprivileged'], built: CARRYING, later: UNBUILT,
    idle: { in: EXEC, because: 'exec needs no rights but to trace the process' },
    help: 'work without being root, within the limits of that' },

  { group: 'Directories and files', long: 'images-dir', short: 'D', arg: 'DIR', completes: 'directory',
    value: { type: 'text', key: 'imagesDir' },
    rpc: [68, 'images_dir'], built: WORKING,
    help: 'where the images are (the current directory)' },
  { group: 'Directories and files', long: 'work-dir', short: 'W', arg: 'DIR', completes: 'directory',
    value: { type: 'text', key: 'workDir' },
    built: WORKING,
    help: 'where logs, pidfiles and statistics go (the images directory)' },
  { group: 'Directories and files', long: 'pidfile', arg: 'FILE', completes: 'file',
    value: { type: 'text', key: 'pidfile' },
    built: RESTORE, later: SERVERS,
    idle: { in: DUMP, because: SAME_OPTIONS },
    help: 'write the PID of the restored root, or of the server, to FILE' },
  { group: 'Directories and files', long: 'prev-images-dir', arg: 'DIR', completes: 'directory',
    value: { type: 'text', key: 'prevImagesDir' },
    rpc: [14, 'parent_img'], built: NONE, later: DUMPS,
    help: 'the images of an earlier pre-dump, relative to the images directory' },
  { group: 'Directories and files', long: 'stream', negatable: true, value: { type: 'flag', key: 'stream' },
    built: NONE, later: [...DUMPS, 'restore'],
    help: 'pass images through criu-image-streamer' },
  { group: 'Directories and files', long: 'libdir', short: 'L', terminal: true, arg: 'DIR', completes: 'directory',
    value: { type: 'text', key: 'libdir' },
    built: WORKING,
    help: 'a directory of C plugins; Stasis loads none and says so if it holds any' },

  { group: 'Logging', long: 'log-file', short: 'o', terminal: true, arg: 'FILE', completes: 'file',
    value: { type: 'text', key: 'logFile' },
    rpc: [10, 'log_file'], built: ALL,
    help: 'the log, relative to the work directory; - for stdout (stderr)' },
  { group: 'Logging', long: 'verbosity', short: 'v', arg: 'N', argOptional: true,
    value: { type: 'verbosity', key: 'verbosity' },
    rpc: [9, 'log_level'], built: ALL,
    help: '1 errors, 2 also warnings, 3 also the steps, 4 everything; without N one more than before (2)' },
  { group: 'Logging', long: 'log-pid', terminal: true, negatable: true, value: { type: 'flag', key: 'logPid' },
    built: NONE,
    idle: { in: RESTORE, because: 'one process does all the work, so there is one log' },
    help: 'accepted; one process does all the work here, so there is one log' },
  { group: 'Logging', long: 'display-stats', terminal: true, negatable: true,
    value: { type: 'flag', key: 'displayStats' },
    rpc: [70, 'display_stats'], built: BOTH,
    help: 'print the statistics at the end' },
  { group: 'Logging', long: 'json', terminal: true, own: true, value: { type: 'flag', key: 'json' },
    built: ALL,
    help: 'the outcome as one JSON object on stdout, errors as one on stderr' },

  { group: 'Files of the tasks', long: 'file-locks', short: 'l', negatable: true,
    value: { type: 'flag', key: 'fileLocks' },
    rpc: [8, 'file_locks'], built: CARRYING,
    help: 'carry file locks and leases' },
  { group: 'Files of the tasks', long: 'link-remap', negatable: true, value: { type: 'flag', key: 'linkRemap' },
    rpc: [18, 'link_remap'], built: CARRYING,
    help: 'give open files whose name was removed, but which have others, a temporary name' },
  { group: 'Files of the tasks', long: 'ghost-limit', arg: 'SIZE', value: { type: 'size', key: 'ghostLimit' },
    rpc: [35, 'ghost_limit'], built: SAVING,
    idle: { in: RESTORE, because: SAME_OPTIONS },
    help: 'the largest deleted file to save, with K, M or G (1M)' },
  { group: 'Files of the tasks', long: 'ghost-fiemap', negatable: true, value: { type: 'flag', key: 'ghostFiemap' },
    built: NONE,
    idle: { in: CARRYING, because: 'the file system is asked for the holes of a file in any case' },
    help: 'find the holes of deleted files by their extents (on); Stasis always asks the file system for them' },
  { group: 'Files of the tasks', long: 'evasive-devices', negatable: true,
    value: { type: 'flag', key: 'evasiveDevices' },
    rpc: [6, 'evasive_devices'], built: CARRYING,
    help: 'open a device by any path that leads to it' },
  { group: 'Files of the tasks', long: 'file-validation', arg: 'HOW',
    value: { type: 'choice', key: 'fileValidation', choices: { filesize: 'filesize', buildid: 'buildid' } },
    built: CARRYING,
    help: 'how files are recognised at restore: filesize or buildid (buildid)' },
  { group: 'Files of the tasks', long: 'skip-file-rwx-check', negatable: true,
    value: { type: 'flag', key: 'skipFileRwxCheck' },
    rpc: [66, 'skip_file_rwx_check'], built: RESTORE,
    idle: { in: SAVING, because: SAME_OPTIONS },
    help: 'restore although the permissions of a file changed' },
  { group: 'Files of the tasks', long: 'force-irmap', negatable: true, value: { type: 'flag', key: 'forceIrmap' },
    rpc: [21, 'force_irmap'], built: SAVING, later: ['pre-dump'],
    idle: { in: RESTORE, because: SAME_OPTIONS },
    help: 'find the paths of inotify watches by searching' },
  { group: 'Files of the tasks', long: 'irmap-scan-path', arg: 'DIR', completes: 'directory',
    value: { type: 'texts', key: 'irmapScanPath' },
    rpc: [36, 'irmap_scan_paths'], built: SAVING, later: ['pre-dump'],
    idle: { in: RESTORE, because: SAME_OPTIONS },
    help: 'search here for the paths of inotify watches, too' },

  { group: 'Sockets and network', long: 'tcp-established', negatable: true,
    value: { type: 'flag', key: 'tcpEstablished' },
    rpc: [5, 'tcp_established'], built: NONE,
    idle: { in: CARRYING, because: NO_CONNECTIONS },
    help: 'carry established TCP connections' },
  { group: 'Sockets and network', long: 'tcp-close', negatable: true, value: { type: 'flag', key: 'tcpClose' },
    rpc: [52, 'tcp_close'], built: NONE,
    idle: { in: CARRYING, because: NO_CONNECTIONS },
    help: 'let established TCP connections go; they are closed sockets after the restore' },
  { group: 'Sockets and network', long: 'skip-in-flight', negatable: true, value: { type: 'flag', key: 'skipInFlight' },
    rpc: [46, 'tcp_skip_in_flight'], built: NONE,
    idle: { in: CARRYING, because: NO_CONNECTIONS },
    help: 'ignore connections nobody has accepted yet' },
  { group: 'Sockets and network', long: 'ext-unix-sk', short: 'x', arg: 'INODES', argOptional: true,
    value: { type: 'unixInodes', key: 'extUnixSk' },
    rpc: [4, 'ext_unix_sk'], built: NONE,
    idle: { in: CARRYING, because: 'a socket with a peer outside of the tree is refused by name' },
    help: 'allow Unix sockets whose peer is outside the tree; all, or those with these inodes' },
  { group: 'Sockets and network', long: 'network-lock', arg: 'HOW',
    value: { type: 'choice', key: 'networkLock',
      choices: { iptables: 'iptables', nftables: 'nftables', skip: 'skip', none: 'skip' } },
    rpc: [64, 'network_lock'], built: NONE,
    idle: { in: CARRYING, because: NO_CONNECTIONS },
    help: 'how connections are held meanwhile: iptables, nftables or skip (iptables)' },
  { group: 'Sockets and network', long: 'veth-pair', arg: 'IN=OUT', value: { type: 'vethPair', key: 'vethPair' },
    rpc: [19, 'veths'], built: NONE, later: RESTORE,
    help: 'the outer name of a veth device; --external veth[IN]:OUT replaces it' },

  { group: 'External resources', long: 'external', arg: 'KEY', value: { type: 'external', key: 'external' },
    rpc: [37, 'external'], built: CARRYING,
    help: 'a resource the tree shares with the outside: tty[rdev:dev], file[mnt_id:inode], unix[inode], '
      + 'dev[major/minor]:NAME, mnt[PATH]:NAME, net[inode]:NAME, pid[inode]:NAME; at restore dev[NAME]:PATH, '
      + 'mnt[NAME]:PATH, veth[IN]:OUT@BRIDGE, macvlan[IN]:OUT, netdev[IN]:OUT' },
  { group: 'External resources', long: 'inherit-fd', arg: 'fd[N]:KEY', value: { type: 'inheritFd', key: 'inheritFd' },
    rpc: [27, 'inherit_fd'], built: RESTORE,
    help: 'our descriptor N is KEY: tty[rdev:dev], pipe:[inode], socket:[inode], file[mnt_id:inode], '
      + '/memfd:NAME, path/without/leading/slash, or the NAME of a namespace' },
  { group: 'External resources', long: 'join-ns', short: 'J', arg: 'NS:TARGET',
    value: { type: 'joinNs', key: 'joinNs' },
    rpc: [39, 'join_ns'], built: NONE, later: RESTORE,
    help: 'restore into the namespace of a PID or file: net, uts, ipc, time, mnt or user[,UID,GID]' },

  { group: 'Namespaces and mounts', long: 'root', short: 'r', arg: 'DIR', completes: 'directory',
    value: { type: 'text', key: 'root' },
    rpc: [13, 'root'], built: NONE, later: BOTH,
    help: 'the root directory of a tree with its own mounts' },
  { group: 'Namespaces and mounts', long: 'empty-ns', arg: 'net', value: { type: 'emptyNs', key: 'emptyNetNs' },
    rpc: [38, 'empty_ns'], built: NONE, later: BOTH,
    help: 'create the network namespace, leave its contents to an action script' },
  { group: 'Namespaces and mounts', long: 'ext-mount-map', short: 'M', arg: 'KEY:VALUE',
    value: { type: 'extMountMap', key: 'extMountMap' },
    rpc: [23, 'ext_mnt'], built: NONE, later: BOTH,
    help: 'an external mount, or auto; --external mnt[PATH] replaces it' },
  { group: 'Namespaces and mounts', long: 'enable-external-sharing',
    value: { type: 'flag', key: 'enableExternalSharing' },
    rpc: [29, 'ext_sharing'], built: NONE, later: BOTH,
    help: 'auto-detected external mounts may be shared' },
  { group: 'Namespaces and mounts', long: 'enable-external-masters',
    value: { type: 'flag', key: 'enableExternalMasters' },
    rpc: [30, 'ext_masters'], built: NONE, later: BOTH,
    help: 'auto-detected external mounts may be slaves' },
  { group: 'Namespaces and mounts', long: 'skip-mnt', arg: 'PATH', value: { type: 'texts', key: 'skipMnt' },
    rpc: [31, 'skip_mnt'], built: NONE, later: BOTH,
    help: 'leave out this mount' },
  { group: 'Namespaces and mounts', long: 'enable-fs', arg: 'NAMES', value: { type: 'commaTexts', key: 'enableFs' },
    rpc: [32, 'enable_fs'], built: NONE, later: BOTH,
    help: 'file systems that are simply mounted again; or all' },
  { group: 'Namespaces and mounts', long: 'mntns-compat-mode', negatable: true,
    value: { type: 'flag', key: 'mntnsCompatMode' },
    rpc: [65, 'mntns_compat_mode'], built: NONE,
    idle: { in: RESTORE, because: 'a tree with mounts of its own is refused by name' },
    help: 'rebuild mounts the way older kernels need' },
  { group: 'Namespaces and mounts', long: 'weak-sysctls', negatable: true, value: { type: 'flag', key: 'weakSysctls' },
    rpc: [47, 'weak_sysctls'], built: NONE,
    idle: { in: BOTH, because: 'no sysctl is carried: they belong to namespaces, which are refused by name' },
    help: 'go on when a sysctl does not exist here' },

  { group: 'Cgroups and security', long: 'manage-cgroups', arg: 'MODE', argOptional: true,
    value: { type: 'choice', key: 'manageCgroups', bare: 'soft',
      choices: { none: 'none', props: 'props', soft: 'soft', full: 'full', strict: 'strict', ignore: 'ignore' } },
    rpc: [34, 'manage_cgroups_mode'], built: CARRYING,
    help: 'what of the cgroups is carried: none, props, soft, full, strict, ignore (soft)' },
  { group: 'Cgroups and security', long: 'cgroup-root', arg: '[CTL:]PATH',
    value: { type: 'cgroupRoot', key: 'cgroupRoot' },
    rpc: [25, 'cg_root'], built: CARRYING,
    help: 'where the tasks\' cgroups begin, for one controller or all' },
  { group: 'Cgroups and security', long: 'cgroup-props', arg: 'TEXT', value: { type: 'text', key: 'cgroupProps' },
    rpc: [41, 'cgroup_props'], built: NONE, later: DUMP,
    help: 'further controllers and properties to carry, as simple YAML' },
  { group: 'Cgroups and security', long: 'cgroup-props-file', arg: 'FILE', completes: 'file',
    value: { type: 'text', key: 'cgroupPropsFile' },
    rpc: [42, 'cgroup_props_file'], built: NONE, later: DUMP,
    help: 'the same, from a file' },
  { group: 'Cgroups and security', long: 'cgroup-dump-controller', arg: 'NAME',
    value: { type: 'texts', key: 'cgroupDumpController' },
    rpc: [43, 'cgroup_dump_controller'], built: NONE, later: DUMP,
    help: 'carry this controller only; may be given several times' },
  { group: 'Cgroups and security', long: 'cgroup-yard', arg: 'DIR', completes: 'directory',
    value: { type: 'text', key: 'cgroupYard' },
    rpc: [60, 'cgroup_yard'], built: CARRYING,
    help: 'where the cgroup hierarchies are already mounted' },
  { group: 'Cgroups and security', long: 'freeze-cgroup', arg: 'DIR', completes: 'directory',
    value: { type: 'text', key: 'freezeCgroup' },
    rpc: [44, 'freeze_cgroup'], built: DUMP, later: ['pre-dump'],
    idle: { in: CHECK, because: 'nothing is frozen' },
    help: 'freeze the tasks with this freezer cgroup' },
  { group: 'Cgroups and security', long: 'lsm-profile', arg: 'TYPE:NAME', value: { type: 'text', key: 'lsmProfile' },
    rpc: [53, 'lsm_profile'], built: NONE, later: RESTORE,
    help: 'the security profile of the restored tasks: apparmor:NAME, selinux:NAME, none:' },
  { group: 'Cgroups and security', long: 'lsm-mount-context', arg: 'CONTEXT',
    value: { type: 'text', key: 'lsmMountContext' },
    rpc: [63, 'lsm_mount_context'], built: NONE, later: RESTORE,
    help: 'replaces the security context of mounts that have one' },

  { group: 'Memory', long: 'verify', own: true, negatable: true, value: { type: 'flag', key: 'verify' },
    built: RESTORE,
    help: 'compare page contents with their checksums before any task is made' },
  { group: 'Memory', long: 'track-mem', negatable: true, value: { type: 'flag', key: 'trackMem' },
    rpc: [15, 'track_mem'], built: NONE, later: DUMPS,
    help: 'note from now on which pages change' },
  { group: 'Memory', long: 'pre-dump-mode', arg: 'MODE',
    value: { type: 'choice', key: 'preDumpMode', choices: { splice: 'splice', read: 'read' } },
    rpc: [61, 'pre_dump_mode'], built: NONE, later: ['pre-dump'],
    help: 'how a pre-dump reads memory: splice or read (splice)' },
  { group: 'Memory', long: 'auto-dedup', negatable: true, value: { type: 'flag', key: 'autoDedup' },
    rpc: [16, 'auto_dedup'], built: NONE, later: ['dump', 'pre-dump', 'restore', 'page-server'],
    help: 'free what earlier images hold in vain; at restore, what has been restored' },
  { group: 'Memory', long: 'lazy-pages', value: { type: 'flag', key: 'lazyPages' },
    rpc: [48, 'lazy_pages'], built: NONE, later: [...DUMPS, 'restore', 'page-server'],
    help: 'bring pages when they are needed; needs a lazy-pages daemon' },

  { group: 'Page server and service', long: 'page-server', negatable: true, value: { type: 'flag', key: 'pageServer' },
    rpc: [11, 'ps'], built: NONE, later: PAGES,
    help: 'send pages to, or fetch them from, a page server' },
  { group: 'Page server and service', long: 'address', arg: 'ADDRESS', value: { type: 'text', key: 'address' },
    rpc: [11, 'ps'], built: NONE, later: [...PAGES, 'service'],
    help: 'of the server or the service' },
  { group: 'Page server and service', long: 'port', arg: 'PORT',
    value: { type: 'number', key: 'port', least: 1, most: 65535 },
    rpc: [11, 'ps'], built: NONE, later: PAGES,
    help: 'of the page server' },
  { group: 'Page server and service', long: 'ps-socket', arg: 'FD',
    value: { type: 'number', key: 'psSocket', least: 0 },
    rpc: [11, 'ps'], built: NONE, later: PAGES,
    help: 'the connection to the page server is this descriptor' },
  { group: 'Page server and service', long: 'daemon', terminal: true, negatable: true,
    value: { type: 'flag', key: 'detached' },
    built: RESTORE, later: SERVERS,
    help: 'go to the background when ready' },
  { group: 'Page server and service', long: 'status-fd', arg: 'FD',
    value: { type: 'number', key: 'statusFd', least: 0 },
    rpc: [49, 'status_fd'], built: NONE, later: SERVERS,
    help: 'write one zero byte to this descriptor when ready' },
  { group: 'Page server and service', long: 'tls', negatable: true, value: { type: 'flag', key: 'tls' },
    rpc: [58, 'tls'], built: NONE, later: PAGES,
    help: 'encrypt the connection' },
  { group: 'Page server and service', long: 'tls-cacert', arg: 'FILE', completes: 'file',
    value: { type: 'text', key: 'tlsCacert' },
    rpc: [54, 'tls_cacert'], built: NONE, later: PAGES,
    help: 'trust certificates of this authority only' },
  { group: 'Page server and service', long: 'tls-cacrl', arg: 'FILE', completes: 'file',
    value: { type: 'text', key: 'tlsCacrl' },
    rpc: [55, 'tls_cacrl'], built: NONE, later: PAGES,
    help: 'certificates no longer trusted' },
  { group: 'Page server and service', long: 'tls-cert', arg: 'FILE', completes: 'file',
    value: { type: 'text', key: 'tlsCert' },
    rpc: [56, 'tls_cert'], built: NONE, later: PAGES,
    help: 'our certificate' },
  { group: 'Page server and service', long: 'tls-key', arg: 'FILE', completes: 'file',
    value: { type: 'text', key: 'tlsKey' },
    rpc: [57, 'tls_key'], built: NONE, later: PAGES,
    help: 'our private key' },
  { group: 'Page server and service', long: 'tls-no-cn-verify', value: { type: 'flag', key: 'tlsNoCnVerify' },
    rpc: [59, 'tls_no_cn_verify'], built: NONE, later: PAGES,
    help: 'accept a certificate made out to another name' },

  { group: 'Checks', long: 'feature', arg: 'NAME', value: { type: 'texts', key: 'feature' },
    built: CHECK,
    help: 'check one feature only; list names them all' },
  { group: 'Checks', long: 'extra', negatable: true, value: { type: 'flag', key: 'extra' },
    built: CHECK,
    help: 'check also what only some programs need' },
  { group: 'Checks', long: 'experimental', negatable: true, value: { type: 'flag', key: 'experimental' },
    built: CHECK,
    help: 'check also what is new' },
  { group: 'Checks', long: 'all', value: { type: 'flags', keys: ['extra', 'experimental'] },
    built: CHECK,
    help: '--extra and --experimental' },
  { group: 'Checks', long: 'ms', value: { type: 'removed', remedy: 'use --extra, --experimental or --all' },
    built: CHECK,
    help: 'gone; see --extra' },

  { group: 'Configuration', long: 'config', arg: 'FILE', completes: 'file', value: { type: 'command line' },
    rpc: [51, 'config_file'], built: ALL,
    help: 'read options from FILE instead of the default configuration files' },
  { group: 'Configuration', long: 'no-default-config', value: { type: 'command line' },
    built: ALL,
    help: 'read no default configuration file' },
  { group: 'Configuration', long: 'deprecated', negatable: true, value: { type: 'flag', key: 'deprecated' },
    built: NONE,
    idle: { in: ALL, because: 'nothing here is about to go' },
    help: 'allow what is about to go' },
  { group: 'Configuration', long: 'close', terminal: true, arg: 'FD', value: { type: 'closeFd', key: 'closeFds' },
    built: WORKING,
    help: 'close this descriptor first' },

  { group: 'General', long: 'help', short: 'h', value: { type: 'command line' },
    built: ALL,
    help: 'this text' },
  { group: 'General', long: 'version', short: 'V', value: { type: 'command line' },
    built: ALL,
    help: 'the version' },
] as const satisfies readonly OptionRow[];

/** Every option of CRIU 4.2, and ours. */
export const OPTIONS: readonly OptionRow[] = TABLE;

/** The rows as they are written, for types that are made from them. */
export type OptionTable = typeof TABLE;
