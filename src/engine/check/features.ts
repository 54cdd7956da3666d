/**
 * The table of kernel features: one row each. Names and classes are CRIU's, so that scripts which ask
 * `check --feature NAME` get the same answers; `neededFor` says what Stasis needs the feature for.
 */
import * as calls from './calls.ts';
import type { Category, Feature, Probe } from './feature.ts';
import * as files from './files.ts';
import * as memory from './memory.ts';
import * as mounts from './mounts.ts';
import * as network from './network.ts';
import * as sockets from './sockets.ts';
import * as tracing from './tracing.ts';

const CR = 'a kernel with CONFIG_CHECKPOINT_RESTORE';
const always: Probe = () => undefined;

/** Makes one row of the table. */
function row(category: Category, name: string, probe: Probe, neededFor: string, remedy: string): Feature {
  return { name, category, probe, neededFor, remedy };
}

const required = (name: string, probe: Probe, neededFor: string, remedy: string): Feature => ({
  ...row('required', name, probe, neededFor, remedy),
  unnamed: true,
});
const extra = row.bind(undefined, 'extra');
const unnamedExtra = (...of: Parameters<typeof extra>): Feature => ({ ...extra(...of), unnamed: true });
const experimental = row.bind(undefined, 'experimental');
const named = row.bind(undefined, 'named');

let table: readonly Feature[] | undefined;

/** All features, required ones first. The table is made on first use. */
export function allFeatures(): readonly Feature[] {
  table ??= [...requiredFeatures(), ...processFeatures(), ...memoryFeatures(), ...fileFeatures(), ...networkFeatures()];
  return table;
}

function requiredFeatures(): Feature[] {
  return [
    required('map_files', files.mapFiles, 'saving mapped files that have no name any more', `${CR}, and root`),
    required('sock_diag', network.sockDiag, 'finding sockets', 'the modules unix_diag, inet_diag and tcp_diag'),
    required('ns_last_pid', files.nsLastPid, 'tools that wish for PIDs the old way', `${CR}, and a writable /proc/sys`),
    required('so_peek_off', sockets.peekOffset, 'reading what waits in a socket', 'Linux 3.4'),
    required('kcmp', calls.kcmp, 'telling which descriptors are one open file', 'a kernel with CONFIG_KCMP'),
    required('prctl', calls.prctlBasics, 'setting the layout of memory and the thread word', `${CR}, Linux 3.18`),
    required('fcntl_owner', files.fileOwner, 'saving who is signalled when a file has news', CR),
    required('proc_stat', files.procStat, 'knowing where code, data and arguments lie', 'Linux 3.5'),
    required('tcp_repair', sockets.tcpRepair, 'TCP connections', 'CAP_NET_ADMIN'),
    required('fdinfo', files.fdinfoDetails, 'eventfd, epoll, signalfd and inotify descriptors', 'Linux 3.8'),
    required('vmsplice', calls.unalignedVmsplice, 'moving pages without copying them', 'Linux 2.6.32'),
    required('tty', calls.terminalLock, 'pseudo terminals', 'devpts mounted at /dev/pts, with /dev/ptmx'),
    required('so_gets', sockets.readableOptions, 'filters and devices sockets are bound to', 'Linux 3.8'),
    required('ipc_next_id', files.ipcNextId, 'System V objects, with the same identifiers', CR),
    required('rt_sigqueueinfo', tracing.queuedSignals, 'signals that are on their way', 'Linux 3.9'),
    required('peeksiginfo', tracing.peekSiginfo, 'reading the queue and mask of signals', 'Linux 3.11'),
    required('vdso_mremap', memory.moveVdso, 'putting the vdso where the program expects it', 'Linux 4.8'),
  ];
}

function processFeatures(): Feature[] {
  return [
    unnamedExtra('prctl_map', calls.memoryMap, 'setting the layout of memory without CAP_SYS_RESOURCE', 'Linux 3.18'),
    unnamedExtra('posix_timers', files.posixTimers, 'POSIX timers', CR),
    unnamedExtra('clone_parent', calls.cloneParentNewPid, 'restoring a sibling in a new PID namespace', 'Linux 3.13'),
    extra('clone3_set_tid', calls.cloneSetTid, 'restoring processes under their old PIDs', 'Linux 5.5'),
    extra('pidfd_store', calls.pidfds, 'borrowing the open files of a process: no dump without', 'Linux 5.6'),
    extra('seccomp_suspend', tracing.suspendSeccomp, 'dumping programs that seccomp keeps from system calls', CR),
    extra('seccomp_filters', tracing.seccompFilters, 'saving seccomp filters', `${CR} and CONFIG_SECCOMP_FILTER`),
    extra('get_rseq_conf', tracing.rseqConfiguration, 'restartable sequences: programs of glibc 2.35 on', 'Linux 5.13'),
    extra('timer_cr_ids', calls.timerIds, 'POSIX timers with high identifiers, quickly', 'Linux 6.15'),
    extra('userns', userNamespaces, 'user namespaces', 'a kernel with CONFIG_USER_NS'),
    extra(
      'timens',
      files.timeNamespace,
      'clocks that go on after a restart of the machine',
      'Linux 5.5, CONFIG_TIME_NS',
    ),
    extra('cgroupns', files.cgroupNamespace, 'cgroup namespaces', 'Linux 4.6'),
    extra('ns_pid', files.nsPid, 'PIDs inside of inner namespaces', 'Linux 4.1'),
    extra('loginuid', mounts.loginUid, 'the login a process belongs to', 'a kernel with CONFIG_AUDITSYSCALL'),
    {
      ...extra('apparmor_stacking', mounts.appArmorStacking, 'profiles of AppArmor in containers', 'AppArmor 1.2'),
      applies: mounts.appArmorIsOn,
    },
    named('breakpoints', tracing.breakpoints, 'stopping a task at an address without changing its code', 'hardware'),
    experimental('compat_cr', memory.compatible, '32-bit programs', 'Linux 4.12 with CONFIG_IA32_EMULATION'),
  ];
}

function memoryFeatures(): Feature[] {
  return [
    extra('mem_dirty_track', memory.changeTracking, 'pre-dumps: saving only what has changed', 'Linux 6.7'),
    extra('pagemap_scan', memory.pagemapScan, 'finding the pages to save quickly', 'Linux 6.7'),
    extra('pagemap_scan_guard_pages', memory.pagemapScanGuards, 'guard pages inside of mappings', 'Linux 6.15'),
    extra('can_map_vdso', memory.mapVdso, 'a vdso where the seed has none', `${CR}, Linux 4.9`),
    extra('aio_remap', memory.moveAioRing, 'asynchronous I/O contexts', 'a kernel with CONFIG_AIO'),
    extra('uffd', memory.userfault, 'fetching memory after the restore (lazy pages)', 'CONFIG_USERFAULTFD, and root'),
    extra('uffd-noncoop', memory.userfaultEvents, 'lazy pages of programs that fork or unmap memory', 'Linux 4.11'),
    extra('memfd_hugetlb', calls.hugeMemfd, 'memory files of huge pages', 'Linux 4.16 with CONFIG_HUGETLBFS'),
  ];
}

function fileFeatures(): Feature[] {
  return [
    extra('mnt_id', files.mountId, 'knowing the mount a file was opened through', 'Linux 3.15'),
    extra('fdinfo_lock', files.fdinfoLock, 'file locks', 'Linux 4.1'),
    extra('timerfd', calls.timerfdTicks, 'timer descriptors', CR),
    extra('kcmp_epoll', files.kcmpEpoll, 'epoll that watches a descriptor that was replaced', 'Linux 4.13'),
    extra('openat2', calls.openat2, 'opening paths without leaving a root', 'Linux 5.6'),
    extra('move_mount_set_group', mounts.mountSetGroup, 'shared mounts of containers', 'Linux 5.15'),
    extra('overlayfs_maps', mounts.overlayMaps, 'mapped files on overlay file systems', 'Linux 6.8'),
    experimental('autofs', mounts.autofsPipe, 'automounters', 'Linux 4.10 with CONFIG_AUTOFS_FS'),
  ];
}

function networkFeatures(): Feature[] {
  return [
    {
      // As in CRIU, `--extra` accepts a machine without the device, but `--feature tun` reports it as missing.
      ...extra('tun', sockets.tun, 'network interfaces of kind tun and tap', 'the module tun'),
      applies: sockets.hasTun,
    },
    extra('sk_ns', sockets.socketNamespace, 'sockets of several network namespaces', 'Linux 4.10'),
    unnamedExtra('tcp_window', sockets.tcpWindow, 'TCP connections with their windows', 'Linux 4.8'),
    extra('tcp_half_closed', sockets.tcpHalfClosed, 'TCP connections closed on one side', 'Linux 4.6'),
    extra('net_diag_raw', network.rawDiag, 'raw sockets', 'the module raw_diag'),
    extra('newifindex', network.newInterfaceIndex, 'interfaces moved in with their old numbers', 'Linux 5.14'),
    extra('network_lock_nftables', network.nftablesLock, '--network-lock nftables', 'Linux 5.6, the module nf_tables'),
    unnamedExtra(
      'nft_table_owner',
      network.nftablesOwner,
      'a network lock that ends with Stasis, however Stasis ends',
      'Linux 5.12, the module nf_tables; or --network-lock skip',
    ),
    extra('sockopt_buf_lock', sockets.bufferLock, 'buffer sizes of sockets, as fixed by the program', 'Linux 5.15'),
    extra(
      'ipv6_freebind',
      sockets.ipv6FreeBind,
      'sockets bound to IPv6 addresses that are not there yet',
      'Linux 4.15',
    ),
    named('tun_ns', sockets.tunNamespace, 'tun and tap of several network namespaces', 'Linux 5.7'),
    named('sk_unix_file', sockets.unixSocketFile, 'unix sockets in other mount namespaces', 'Linux 4.19'),
    named('nsid', network.networkId, 'network namespaces that know each other', 'Linux 4.0'),
    named('link_nsid', network.linkNetworkId, 'veth pairs across network namespaces', 'Linux 4.0'),
    named('external_net_ns', always, 'network namespaces made by somebody else', 'always there'),
    named('nftables', network.nftables, 'firewall rules of nftables', 'the module nf_tables'),
    named('has_ipt_legacy', network.legacyIptables, 'firewall rules of the old iptables', 'the package iptables'),
  ];
}

function userNamespaces(): string | undefined {
  return files.userNamespace() ?? calls.memoryMap();
}

/** The names that `--feature` accepts. */
export function featureNames(): string[] {
  return allFeatures()
    .filter(({ unnamed }) => !unnamed)
    .map(({ name }) => name);
}

/** The feature with a name that `--feature` accepts; undefined if there is none. */
export function featureByName(name: string): Feature | undefined {
  return allFeatures().find((feature) => feature.name === name && !feature.unnamed);
}
