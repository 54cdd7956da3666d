/** All kinds of images CRIU 4.2 knows. */

import type { HeadedKind, ImageKind, RawKind } from './kind.ts';
import type { Message, TypeOf } from './message.ts';
import {
  ghostChunk,
  ghostContent,
  mapBytes,
  type PayloadCodec,
  packetBytes,
  pipeBytes,
  queuedMessages,
  segmentBytes,
  semValues,
  tcpQueues,
} from './payload.ts';
import { bpfmapDataEntry, bpfmapFileEntry } from './schema/bpf.ts';
import { cgroupEntry } from './schema/cgroup.ts';
import { timensEntry } from './schema/common.ts';
import { cpuinfoEntry } from './schema/cpuinfo.ts';
import {
  eventfdFileEntry,
  eventpollFileEntry,
  eventpollTfdEntry,
  fanotifyFileEntry,
  fanotifyMarkEntry,
  inotifyFileEntry,
  inotifyWdEntry,
  irmapCacheEntry,
  signalfdEntry,
  timerfdEntry,
} from './schema/events.ts';
import {
  extFileEntry,
  fdinfoEntry,
  fifoEntry,
  fileEntry,
  fileLockEntry,
  fsEntry,
  ghostChunkEntry,
  ghostFileEntry,
  memfdInodeEntry,
  pidfdEntry,
  pipeDataEntry,
  pipeEntry,
  regFileEntry,
  remapFilePathEntry,
} from './schema/files.ts';
import { mmEntry, pagemapEntry, pagemapHead, vmaEntry } from './schema/memory.ts';
import { autofsEntry, binfmtMiscEntry, mntEntry } from './schema/mounts.ts';
import {
  ipcMsgEntry,
  ipcSemEntry,
  ipcShmEntry,
  ipcVarEntry,
  nsFileEntry,
  pidnsEntry,
  usernsEntry,
  utsnsEntry,
} from './schema/namespaces.ts';
import { netDeviceEntry, netnsEntry, tunfileEntry } from './schema/network.ts';
import { apparmorEntry, seccompEntry } from './schema/security.ts';
import {
  inetSkEntry,
  netlinkSkEntry,
  packetSockEntry,
  skPacketEntry,
  tcpStreamEntry,
  unixSkEntry,
} from './schema/sockets.ts';
import {
  coreEntry,
  credsEntry,
  itimerEntry,
  posixTimerEntry,
  rlimitEntry,
  saEntry,
  siginfoEntry,
  taskKobjIdsEntry,
} from './schema/task.ts';
import { inventoryEntry, pstreeEntry, statsEntry } from './schema/tree.ts';
import { ttyDataEntry, ttyFileEntry, ttyInfoEntry } from './schema/tty.ts';

type Plain<M extends Message> = ImageKind<M, never>;

function image<M extends Message>(name: string, pattern: string, magic: number, message: () => M): Plain<M> {
  return { name, pattern, magic, framing: 'common', message };
}

function service<M extends Message>(name: string, pattern: string, magic: number, message: () => M): Plain<M> {
  return { name, pattern, magic, framing: 'service', message };
}

function bare<M extends Message>(name: string, pattern: string, magic: number, message: () => M): Plain<M> {
  return { name, pattern, magic, framing: 'bare', message };
}

function withPayload<M extends Message, E>(
  name: string,
  pattern: string,
  magic: number,
  message: () => M,
  payload: PayloadCodec<TypeOf<M>, E>,
): ImageKind<M, E> {
  return { name, pattern, magic, framing: 'common', message, payload };
}

/** A kind whose first entry is another message than the rest. */
function headed<H extends Message, M extends Message>(
  name: string,
  pattern: string,
  magic: number,
  head: () => H,
  message: () => M,
): HeadedKind<H, M, never> {
  return { name, pattern, magic, framing: 'common', head, message };
}

function raw(name: string, pattern: string): RawKind {
  return { name, pattern, magic: 0, framing: 'raw' };
}

/** The kinds by name; `imageName(Images.core, 17)` is `core-17.img`. */
export const Images = {
  // The whole dump.

  inventory: bare('INVENTORY', 'inventory', 0x58313116, () => inventoryEntry),
  pstree: image('PSTREE', 'pstree', 0x50273030, () => pstreeEntry),
  stats: service('STATS', 'stats-%s', 0x57093306, () => statsEntry),

  // Tasks.

  core: image('CORE', 'core-%u', 0x55053847, () => coreEntry),
  ids: image('IDS', 'ids-%u', 0x54432030, () => taskKobjIdsEntry),

  // Memory.

  mm: image('MM', 'mm-%u', 0x57492820, () => mmEntry),
  pagemap: headed(
    'PAGEMAP',
    'pagemap-%u',
    0x56084025,
    () => pagemapHead,
    () => pagemapEntry,
  ),
  shmemPagemap: headed(
    'PAGEMAP',
    'pagemap-shmem-%u',
    0x56084025,
    () => pagemapHead,
    () => pagemapEntry,
  ),
  pages: raw('PAGES', 'pages-%u'),

  // Descriptors, open files and what belongs to them.

  fdinfo: image('FDINFO', 'fdinfo-%u', 0x56213732, () => fdinfoEntry),
  files: image('FILES', 'files', 0x56303138, () => fileEntry),
  fs: image('FS', 'fs-%u', 0x51403912, () => fsEntry),
  remapFpath: image('REMAP_FPATH', 'remap-fpath', 0x59133954, () => remapFilePathEntry),
  ghostFile: {
    ...headed(
      'GHOST_FILE',
      'ghost-file-%x',
      0x52583605,
      () => ghostFileEntry,
      () => ghostChunkEntry,
    ),
    headPayload: ghostContent,
    payload: ghostChunk,
  },
  memfdInode: image('MEMFD_INODE', 'memfd', 0x48453499, () => memfdInodeEntry),
  fileLocks: image('FILE_LOCKS', 'filelocks', 0x54323616, () => fileLockEntry),
  irmapCache: service('IRMAP_CACHE', 'irmap-cache', 0x57004059, () => irmapCacheEntry),

  // Contents of pipes and sockets.

  pipesData: withPayload('PIPES_DATA', 'pipes-data', 0x56453709, () => pipeDataEntry, pipeBytes),
  fifoData: withPayload('FIFO_DATA', 'fifo-data', 0x59333054, () => pipeDataEntry, pipeBytes),
  skQueues: withPayload('SK_QUEUES', 'sk-queues', 0x56264026, () => skPacketEntry, packetBytes),
  tcpStream: withPayload('TCP_STREAM', 'tcp-stream-%x', 0x51465506, () => tcpStreamEntry, tcpQueues),

  // Terminals.

  ttyInfo: image('TTY_INFO', 'tty-info', 0x59453036, () => ttyInfoEntry),
  ttyData: image('TTY_DATA', 'tty-data', 0x59413026, () => ttyDataEntry),

  // Namespaces.

  utsns: image('UTSNS', 'utsns-%u', 0x54473203, () => utsnsEntry),
  timens: image('TIMENS', 'timens-%u', 0x43114433, () => timensEntry),
  pidns: image('PIDNS', 'pidns-%u', 0x61157326, () => pidnsEntry),
  userns: image('USERNS', 'userns-%u', 0x55474906, () => usernsEntry),
  ipcVar: image('IPC_VAR', 'ipcns-var-%u', 0x53115007, () => ipcVarEntry),
  ipcnsShm: withPayload('IPCNS_SHM', 'ipcns-shm-%u', 0x46283044, () => ipcShmEntry, segmentBytes),
  ipcnsMsg: withPayload('IPCNS_MSG', 'ipcns-msg-%u', 0x55453737, () => ipcMsgEntry, queuedMessages),
  ipcnsSem: withPayload('IPCNS_SEM', 'ipcns-sem-%u', 0x59573019, () => ipcSemEntry, semValues),

  // Network namespaces.

  netns: image('NETNS', 'netns-%u', 0x55933752, () => netnsEntry),
  netdev: image('NETDEV', 'netdev-%u', 0x57373951, () => netDeviceEntry),
  ifaddr: raw('IFADDR', 'ifaddr-%u'),
  route: raw('ROUTE', 'route-%u'),
  route6: raw('ROUTE6', 'route6-%u'),
  rule: raw('RULE', 'rule-%u'),
  iptables: raw('IPTABLES', 'iptables-%u'),
  ip6tables: raw('IP6TABLES', 'ip6tables-%u'),
  nftables: raw('NFTABLES', 'nftables-%u'),
  netnfCt: raw('NETNF_CT', 'netns-ct-%u'),
  netnfExp: raw('NETNF_EXP', 'netns-exp-%u'),

  // Mount namespaces.

  mnts: image('MNTS', 'mountpoints-%u', 0x55563928, () => mntEntry),
  tmpfsImg: raw('TMPFS_IMG', 'tmpfs-%u.tar.gz'),
  tmpfsDev: raw('TMPFS_DEV', 'tmpfs-dev-%u.tar.gz'),
  autofs: image('AUTOFS', 'autofs-%u', 0x49353943, () => autofsEntry),
  binfmtMisc: image('BINFMT_MISC', 'binfmt-misc', 0x67343323, () => binfmtMiscEntry),

  // Control groups, filters, maps, the processor.

  cgroup: image('CGROUP', 'cgroup', 0x59383330, () => cgroupEntry),
  seccomp: image('SECCOMP', 'seccomp', 0x64413049, () => seccompEntry),
  apparmor: image('APPARMOR', 'apparmor', 0x59423047, () => apparmorEntry),
  bpfmapFile: image('BPFMAP_FILE', 'bpfmap-file', 0x57506142, () => bpfmapFileEntry),
  bpfmapData: withPayload('BPFMAP_DATA', 'bpfmap-data', 0x64324033, () => bpfmapDataEntry, mapBytes),
  cpuinfo: image('CPUINFO', 'cpuinfo', 0x61404013, () => cpuinfoEntry),

  // Older forms: one file for each kind of open file, and parts of core and mm on their own.

  regFiles: image('REG_FILES', 'reg-files', 0x50363636, () => regFileEntry),
  extFiles: image('EXT_FILES', 'ext-files', 0x59255641, () => extFileEntry),
  nsFiles: image('NS_FILES', 'ns-files', 0x61394011, () => nsFileEntry),
  eventfdFile: image('EVENTFD_FILE', 'eventfd', 0x44523722, () => eventfdFileEntry),
  eventpollFile: image('EVENTPOLL_FILE', 'eventpoll', 0x45023858, () => eventpollFileEntry),
  eventpollTfd: image('EVENTPOLL_TFD', 'eventpoll-tfd', 0x44433746, () => eventpollTfdEntry),
  signalfd: image('SIGNALFD', 'signalfd', 0x57323820, () => signalfdEntry),
  inotifyFile: image('INOTIFY_FILE', 'inotify', 0x48424431, () => inotifyFileEntry),
  inotifyWd: image('INOTIFY_WD', 'inotify-wd', 0x54562009, () => inotifyWdEntry),
  fanotifyFile: image('FANOTIFY_FILE', 'fanotify', 0x55096122, () => fanotifyFileEntry),
  fanotifyMark: image('FANOTIFY_MARK', 'fanotify-mark', 0x56506035, () => fanotifyMarkEntry),
  timerfd: image('TIMERFD', 'timerfd', 0x50493712, () => timerfdEntry),
  pidfd: image('PIDFD', 'pidfd', 0x54435556, () => pidfdEntry),
  pipes: image('PIPES', 'pipes', 0x56513555, () => pipeEntry),
  fifo: image('FIFO', 'fifo', 0x58364939, () => fifoEntry),
  unixsk: image('UNIXSK', 'unixsk', 0x54373943, () => unixSkEntry),
  inetsk: image('INETSK', 'inetsk', 0x56443851, () => inetSkEntry),
  packetsk: image('PACKETSK', 'packetsk', 0x60454618, () => packetSockEntry),
  netlinkSk: image('NETLINK_SK', 'netlinksk', 0x58005614, () => netlinkSkEntry),
  ttyFiles: image('TTY_FILES', 'tty', 0x59433025, () => ttyFileEntry),
  tunfile: image('TUNFILE', 'tunfile', 0x57143751, () => tunfileEntry),
  vmas: image('VMAS', 'vmas-%u', 0x54123737, () => vmaEntry),
  sigact: image('SIGACT', 'sigacts-%u', 0x55344201, () => saEntry),
  itimers: image('ITIMERS', 'itimers-%u', 0x57464056, () => itimerEntry),
  posixTimers: image('POSIX_TIMERS', 'posix-timers-%u', 0x52603957, () => posixTimerEntry),
  creds: image('CREDS', 'creds-%u', 0x54023547, () => credsEntry),
  rlimit: image('RLIMIT', 'rlimit-%u', 0x57113925, () => rlimitEntry),
  signal: image('SIGNAL', 'signal-s-%u', 0x59255647, () => siginfoEntry),
  psignal: image('SIGNAL', 'signal-p-%u', 0x59255647, () => siginfoEntry),
} as const;
