/**
 * The codes of errors: names that stay, by which programs tell one error from another whatever its sentence says. This
 * is the one list of them; docs/errors.md shows it to people, and a test compares the two. Only the type is needed
 * while Stasis runs.
 *
 * A code that was published is neither renamed nor given another meaning. What cannot be carried has a code for each
 * kind of thing; other errors have that of their kind (the first ones) until somebody needs to tell them apart.
 */
export const ERROR_CODES = {
  // One for each kind of error, for those that have no code of their own.
  USAGE: 'The command line, a configuration file or a request is wrong.',
  IMAGE: 'An image file is damaged, or contradicts another one.',
  CONFLICT: 'Something on this machine as it is now is in the way.',
  PERMISSION: 'A capability or an access right is missing.',
  KERNEL: 'The kernel refused something that should have worked.',
  IO: 'A file of Stasis itself (images, log, pidfile) could not be read or written.',
  INTERRUPTED: 'A signal (SIGINT, SIGTERM, SIGHUP) asked Stasis to end, and the work was undone.',
  GONE: 'The task does not exist, or ended while Stasis worked on it.',
  INTERNAL: 'A mistake in Stasis.',
  OBSTACLES: 'Several things are in the way; `obstacles` lists them, each with its own code.',
  COMMAND_NOT_BUILT: 'A command of CRIU that Stasis does not have yet.',
  OPTION_NOT_BUILT: 'An option of CRIU that has no effect in Stasis yet, and is refused for that reason.',

  // Page servers.
  PAGE_SERVER_UNREACHABLE: 'There is no page server at that address, or one cannot be made there.',
  PAGE_SERVER_LOST: 'A page server, or the dump it serves, has gone away or does not answer.',
  PAGE_SERVER_FAILED: 'A page server could not store what it was sent.',
  PAGE_SERVER_PROTOCOL: 'The other side of a page server does not speak the protocol of CRIU 4.2.',

  // Connections with another machine.
  PEER_UNREACHABLE: 'No connection with the other machine came about.',
  TLS_FILES: 'A certificate, key or list of revoked certificates cannot be read, or they do not belong together.',
  TLS_PEER: 'The certificate of one side is not accepted by the other.',
  TLS_FAILED: 'No connection with TLS came about, or it was lost.',

  // Live migration.
  MIGRATION_LOST: 'The other side of a migration has gone away or does not answer.',
  MIGRATION_REFUSED: 'The other machine cannot take the tree: something it needs there is missing or in the way.',
  MIGRATION_FAILED: 'The other machine could not restore the tree.',
  MIGRATION_PROTOCOL: 'The other side of a migration is no Stasis that migrates in the same way.',
  MIGRATION_UNDECIDED: 'The connection broke in the moment of handing over: nobody knows whether the tree runs there.',

  // Live snapshots.
  COPY_KILLED: 'A process that kept memory for a dump, as it was at the freeze, was killed before all was written.',

  // Lazy pages.
  LAZY_PAGES_UNREACHABLE: 'No lazy-pages daemon listens in the work directory, or the kernel offers no lazy pages.',
  LAZY_PAGES_LOST: 'A lazy-pages daemon, or the restore it serves, has gone away or does not answer.',
  LAZY_PAGES_OTHER_IMAGES: 'A lazy-pages daemon has other images than the restore it serves.',
  PAGES_ELSEWHERE: 'The images lack pages that a dump with --lazy-pages has kept.',

  // Trees, processes and threads.
  ALL_SIGNALS_PENDING: 'Every signal by which Stasis could enter the task is pending in it.',
  ARCHITECTURE: 'The processor is of another architecture than the images, or of one Stasis has no code for.',
  CALL_TIMED_OUT: 'A system call made in the task did not return in time.',
  CALL_USES_RESTART_BLOCK: 'The call would make the kernel forget how long the thread has still to sleep.',
  CPUID_FAULTS: 'The task may not execute the instruction cpuid (arch_prctl, ARCH_SET_CPUID).',
  CPU_STATE: 'The task uses processor state that this processor or kernel does not have.',
  DESCRIPTORS_EXHAUSTED: 'Stasis may not have as many descriptors as the tree needs.',
  LANDLOCK: 'The task is in a Landlock sandbox, whose rules the kernel tells nobody.',
  LOOK_FAILED: 'Something vanished while it was looked at, so that nobody knows whether it can be carried.',
  MAIN_THREAD_DEAD: 'The main thread of a process has ended while its other threads go on.',
  NO_ROOM_FOR_CODE: 'No executable mapping of the task can hold the code by which Stasis enters or leaves it.',
  NO_HEADROOM: 'The resource limits of the task leave no room for what Stasis does in it.',
  PAGE_SIZE: 'The kernel has pages of another size than Stasis was built for.',
  PID_TAKEN: 'A process or thread ID that the images need is in use.',
  PROC_FILE_MISSING: 'A file of /proc about the task is not there: the kernel is older, or built without it.',
  SECCOMP_PERMISSION: 'Stasis may not look at seccomp filters: it is restricted itself, or lacks CAP_SYS_ADMIN.',
  SECCOMP_SUPERVISED: 'A seccomp filter hands system calls over to a supervisor.',
  SESSION_OUTSIDE: 'The root is in a session of somebody outside the tree.',
  SESSION_SHARED:
    'Somebody outside the tree is in a session or process group that it needs, which so cannot be made again.',
  SYSCALL_DISPATCH: 'The task catches its own system calls (PR_SET_SYSCALL_USER_DISPATCH).',
  TASK_32BIT: 'A 32-bit program.',
  TASK_CORE_DUMP: 'The task is dumping core.',
  TASK_DEAD: 'A zombie, or a kernel thread: there is nothing to save.',
  TASK_HAS_STASIS_CODE: 'The task is in the code of a Stasis that was killed, and has to run for a moment to leave it.',
  TASK_NOT_TRACEABLE: 'The kernel does not let Stasis trace the task.',
  TASK_SHARES_WITH_PARENT:
    'The root shares memory, descriptors or directory with its parent, which is not in the tree.',
  TASK_STALLED: 'A task did not stop in time, mostly because it is in an uninterruptible sleep.',
  TASK_TRACED: 'Somebody else traces the task.',
  THREAD_APART: 'A thread has left what the threads of its process have in common (unshare).',
  TREE_HAS_STASIS: 'Stasis itself is a process of the tree.',
  TREE_RESTLESS: 'The tree makes new tasks faster than they can be stopped.',
  TREE_UNBUILDABLE: 'The kernel gives no way to make a tree with these sessions, groups and shared parts again.',
  VFORK_WAIT: 'A task waits for a child of vfork that executes no program.',

  // Memory.
  MEMORY_DEVICE: 'A mapping of device memory.',
  MEMORY_IO_URING: 'A mapped ring of io_uring whose descriptor is closed.',
  MEMORY_MAPPING: 'A mapping of a kind that is not carried.',
  MEMORY_SHADOW_STACK: 'A shadow stack (CET).',
  MEMORY_UPROBES: 'A mapping that belongs to uprobes.',
  MEMORY_USERFAULTFD: 'A mapping that is watched by a userfaultfd.',
  SYSV_SEGMENT_FOREIGN: 'A System V segment of another IPC namespace, or one the kernel does not list.',
  SYSV_OBJECT_TAKEN: 'The place of a System V semaphore array or message queue is taken by another one.',
  SYSV_QUEUE_UNREADABLE: 'A System V message queue with a message longer than kernel.msgmax.',
  SYSV_SEGMENT_FORCED: 'A System V segment that nobody has attached, where such segments are destroyed.',
  SYSV_SEGMENT_TAKEN: 'The place of a System V segment is taken by another one.',
  VDSO_FOREIGN: 'The kernel has another vdso than the images, which do not hold the old one.',

  // Files.
  EPOLL_CLOSED_TARGET: 'An epoll instance watches a file that its process has closed since.',
  FILE_BPF: 'A program or link of eBPF, or a map that is no plain hash or array, or that a program uses.',
  FILE_BUSY: 'A file cannot be opened as it was: it is executed, or somebody has a lease on it.',
  FILE_CHANGED: 'A file is not what it was at the dump.',
  FILE_DEVICE: 'A device whose driver keeps state for whoever has it open.',
  FILE_EXTERNAL: 'A file was left to the user at the dump (`--external`), who has to give one.',
  FILE_GHOST_LIMIT: 'A deleted file that is still open is larger than `--ghost-limit`.',
  FILE_IO_URING: 'A ring of io_uring with requests in flight, or with something that is not carried.',
  FILE_KVM: 'A virtual machine of KVM.',
  FILE_LOCKS: 'The task holds a lock or a lease on a file; `--file-locks` carries them.',
  FILE_MESSAGE_QUEUE: 'A POSIX message queue that was removed, that notifies, or whose messages cannot be read.',
  FILE_MISSING: 'A file that was open at the dump is not there any more.',
  FILE_NAMELESS: 'A file that has no path.',
  FILE_NOT_AT_PATH: 'Another file, or none, is at the path of an open one.',
  FILE_PATH_TOO_LONG: 'The path of a file is longer than system calls take.',
  FILE_PERF_EVENT: 'A performance counter (perf_event_open).',
  FILE_SECCOMP_LISTENER: 'The listener of a seccomp filter.',
  FILE_SECRET_MEMORY: 'Secret memory (memfd_secret).',
  FILE_TUN: 'A tun or tap device that cannot be carried, or that is not there at the restore.',
  FILE_UNKNOWN: 'An open file of a kind that is not carried.',
  FILE_UNLINKED: 'A file lost the name it was opened by and has another; `--link-remap` carries it.',
  FILE_USERFAULTFD: 'A userfaultfd.',
  LOCK_TAKEN: 'Somebody else holds a lock that is to be taken again.',
  LOCK_UNKNOWN: 'A file lock of a kind that is not carried.',
  PIDFD_OUTSIDE: 'A pidfd of a process that is not in the tree.',
  TERMINAL_FOREIGN: 'A terminal whose other side somebody outside the tree has; `--shell-job` carries it.',
  TERMINAL_NUMBER: 'A terminal whose number has no place in the images.',
  TERMINAL_SECOND: 'A second terminal, where `--shell-job` moves one.',
  TERMINAL_SESSION: 'A terminal controls a session that is not in the tree.',
  TERMINAL_TAKEN: 'The number of a terminal is in use.',
  WATCH_CHANGED: 'What an inotify or fanotify instance watched is not there any more.',
  WATCH_UNREACHABLE: 'An inotify or fanotify instance watches something that cannot be found again.',
  WATCH_WHOLE: 'A fanotify instance watches a whole file system or namespace.',

  // Sockets.
  SOCKET_ADDRESS_MISSING: 'A socket is to be bound to an address that this machine does not have.',
  SOCKET_DEVICE_MISSING: 'A socket is to be bound to a network device that is not there.',
  SOCKET_ERROR_PENDING: 'An error waits in a socket to be reported.',
  SOCKET_FAMILY: 'A socket of a family that is not carried.',
  SOCKET_FILTER_EBPF: 'A socket with a filter of eBPF.',
  SOCKET_NAME: 'The name of a unix socket that cannot be made again.',
  SOCKET_NAME_TAKEN: 'The name of a unix socket is in use, or its directory is missing.',
  SOCKET_MPTCP: 'A connection of MPTCP.',
  SOCKET_NETLINK: 'An answer of the kernel waits in a netlink socket.',
  SOCKET_OTHER_NAMESPACE:
    'A socket of a network namespace that no process of the tree is in, and that is not the tree’s alone.',
  SOCKET_OUT_OF_BAND: 'An out-of-band byte waits in a socket.',
  SOCKET_PACKET: 'A packet socket that the kernel does not tell all of.',
  SOCKET_PORT_TAKEN: 'The address and port of a socket are in use by somebody else.',
  SOCKET_PROTOCOL: 'A socket of an IP protocol that is not carried.',
  SOCKET_QUEUE: 'Messages that wait in a socket cannot be carried.',
  NETWORK_LOCK: 'The connections of the tree cannot be locked (--network-lock).',
  SOCKET_TCP: 'A connection of TCP, without --tcp-established or --tcp-close.',
  SOCKET_TCP_PENDING: 'A connection of TCP that has not been accepted yet.',
  SOCKET_TCP_REPAIR: 'A connection of TCP that somebody else has in repair mode.',
  SOCKET_TCP_SIGNED: 'A socket of TCP whose segments are signed (MD5, AO).',
  SOCKET_TCP_ULP: 'A connection of TCP with a protocol of the kernel above it (kTLS).',
  SOCKET_UDP: 'Part of a datagram waits in a socket of UDP to be completed (UDP_CORK, MSG_MORE).',
  SOCKET_UNIX_OUTSIDE: 'A unix socket whose peer is outside the tree.',
  SOCKET_UNIX_PENDING: 'A unix connection that has not been accepted yet.',

  // Namespaces, cgroups, rights.
  CAPABILITIES: 'The task had capabilities that whoever restores it does not have.',
  CGROUP_FROZEN: 'A cgroup that tasks are to be restored in is frozen.',
  CGROUP_HIERARCHY: 'A hierarchy of cgroups is not there, or refuses what the images ask for.',
  CGROUP_MISSING: 'A cgroup is not there, or not as the images say.',
  CREDENTIALS: 'Users, groups or capabilities of the task cannot be set.',
  LIMIT: 'A resource limit of the task cannot be set.',
  MOUNT_UNSUPPORTED: 'A mount that cannot be made again.',
  MOUNT_SOURCE: 'What a mount comes from is not there, or was left to the user.',
  MOUNT_PLACE: 'The directory of a mount is not there any more.',
  MOUNT_REFUSED: 'The kernel does not mount a file system again.',
  NAMESPACE_DESCRIPTOR:
    'A descriptor of a namespace that is not the tree’s alone, or of a type that is carried only with processes in it.',
  NAMESPACE_OWN: 'A namespace that Stasis is not in.',
  NAMESPACE_EXTERNAL:
    'A namespace that the user is to give at the restore, or has named to join, and that is missing or cannot be taken.',
  NAMESPACE_PID_INIT: 'The root of the tree is not the init of its PID namespace.',
  NAMESPACE_PID_NESTED: 'A PID namespace below that of the root whose init, or parent, no process of the tree is in.',
  NAMESPACE_USER_IDS: 'Processes in a user namespace have users or groups that cannot be given to them there again.',
  NAMESPACE_USER_NESTED: 'A user namespace is inside of another one, in which only processes outside of the tree are.',
  NAMESPACE_USER_PIDS:
    'A PID namespace belongs to another user namespace than whoever makes its processes could give it.',
  NAMESPACE_USER_OWNER: 'The processes or namespaces of a tree and its user namespace do not go together.',
  NAMESPACE_CGROUP_ROOT: 'A process is in a cgroup outside of the root of its cgroup namespace.',
  NAMESPACE_TIME_CHILDREN: 'The children of a thread are to have another time namespace than those of its process.',
  NETWORK_DEVICE: 'A network device that is not carried, or for which an option is missing.',
  NETWORK_FILTER: 'Packet filters or sets of a network namespace that are not carried.',
  NETWORK_SYSCTL: 'A setting of a network namespace that this kernel does not take.',
  SECURITY_LABEL: 'A label of a security module cannot be told, or set.',

  // Images.
  COMPRESSION: 'Page contents are compressed, and this runtime cannot do that, or the work needs plain ones.',
  IMAGE_CHANGED: 'An image file is not what the dump wrote.',
  IMAGE_FILE_TYPE: 'The images have an open file of a type that is not restored yet.',
  IMAGE_MISSING: 'An image file is missing.',
  IMAGE_TASK_STATE: 'The images have a task in a state that is not restored.',
} as const;

/** One of {@link ERROR_CODES}. */
export type ErrorCode = keyof typeof ERROR_CODES;
