/** What the constants and layouts of `src/kernel` are called in C, where that does not follow from their names. */

/** What the names of an object's members begin with in C; by default the object's own name and an underscore. */
export const PREFIXES: Readonly<Record<string, string>> = {
  ARCH: 'ARCH_',
  AUX: 'AT_',
  ACCESS: '',
  BPF_MAP_TYPES: 'BPF_MAP_TYPE_',
  BPF_CLASS: 'BPF_',
  BPF_MODE: 'BPF_',
  BPF_OPERAND: 'BPF_',
  BPF_OPERATION: 'BPF_',
  BPF_SIZE: 'BPF_',
  CC: '',
  ERRNO: '',
  CAP_NAMES: 'CAP_',
  FS_MAGIC: '',
  IFF_LINK: 'IFF_',
  F_LCK: 'F_',
  IOC: '_IOC_',
  MCAST_MODE: 'MCAST_',
  NR_X86_64: '__NR_',
  MEMBARRIER: 'MEMBARRIER_CMD_',
  NETLINK_OPTION: 'NETLINK_',
  NFT_REG: 'NFT_REG',
  NLMSG: 'NLMSG_',
  PERSONALITY: '',
  POLL: 'POLL',
  PR_SPEC_STATE: 'PR_SPEC_',
  REPAIR: 'TCP_REPAIR_',
  RLIMIT_NAMES: 'RLIMIT_',
  SECBIT: 'SECBIT_',
  SHM_CTL: 'SHM_',
  SHM_MODE: 'SHM_',
  SIG: 'SIG',
  SIG_HANDLER: 'SIG_',
  SIG_HOW: 'SIG_',
  S_IF: 'S_IF',
  TCP_STATE: 'TCP_',
  TERMIOS: '',
  TTY_IOCTL: '',
  TUN_IOCTL: '',
  W: 'W',
};

/** Other names, and expressions. */
export const NAMES: Readonly<Record<string, string>> = {
  BPF_RET_K: '(BPF_RET | BPF_K)',
  CAPABILITY_VERSION_3: '_LINUX_CAPABILITY_VERSION_3',
  DEBUG_REGISTERS: '__builtin_offsetof(struct user, u_debugreg)',
  FUTEX_CMD_MASK: '(FUTEX_CMD_MASK & 0x7f)',
  'MOUNT_ATTR.ATIME_MASK': 'MOUNT_ATTR__ATIME',
  NLA_TYPE_MASK: '(NLA_TYPE_MASK & 0xffff)',
  NSIG: '__SIGRTMAX',
  RLIM_INFINITY: 'RLIM64_INFINITY',
  SIGINFO_SIZE: 'sizeof(siginfo_t)',
  SIGSET_SIZE: 'sizeof(sigset_t)',
  STATX_SIZE: 'sizeof(struct statx)',
  'NFT_REG.VERDICT': 'NFT_REG_VERDICT',
  'O.ASYNC': 'FASYNC',
  'O.TMPFILE_BIT': '__O_TMPFILE',
  'PTRACE.PEEKUSER': 'PTRACE_PEEKUSR',
  'PTRACE.POKEUSER': 'PTRACE_POKEUSR',
  'REPAIR.OFF_SILENT': 'TCP_REPAIR_OFF_NO_WP',
  'REPAIR_QUEUE.NONE': 'TCP_NO_QUEUE',
  'REPAIR_QUEUE.RECEIVE': 'TCP_RECV_QUEUE',
  'REPAIR_QUEUE.SEND': 'TCP_SEND_QUEUE',
  'SEM_CTL.GETALL': 'GETALL',
  'SEM_CTL.GETPID': 'GETPID',
  'SEM_CTL.SETALL': 'SETALL',
  'SIG.RTMAX': '__SIGRTMAX',
  'TCP_STATE.NEW_SYN_RECV': 'BPF_TCP_NEW_SYN_RECV',
  'TCPOPT.MSS': 'TCPOPT_MAXSEG',
  'TCPOPT.SACK_PERM': 'TCPOPT_SACK_PERMITTED',
  'TTY_MAJOR.VT': 'TTY_MAJOR',
  'TTY_MAJOR.CURRENT': 'TTYAUX_MAJOR',
  'TTY_MAJOR.PTY_MASTER': 'UNIX98_PTY_MASTER_MAJOR',
  'TTY_MAJOR.PTY_SLAVE': 'UNIX98_PTY_SLAVE_MAJOR',
  'W.NOTHREAD': '__WNOTHREAD',
  'W.ALL': '__WALL',
  'W.CLONE': '__WCLONE',
};
for (const name of ['THREAD', 'PROCESS', 'SESSION', 'USER', 'USER_SESSION']) {
  (NAMES as Record<string, string>)[`KEY_SPEC.${name}`] = `KEY_SPEC_${name}_KEYRING`;
}

/** The first version of Linux whose headers have a name, as 601 for 6.1, if it is later than Debian 12's (6.1). */
export const SINCE: Readonly<Record<string, number>> = {
  'IFLA.GRO_IPV4_MAX_SIZE': 603,
  'IFLA.GSO_IPV4_MAX_SIZE': 603,
  'NHA.GROUP_STATS': 609,
  'NHA.HW_STATS_ENABLE': 609,
  'NHA.HW_STATS_USED': 609,
  'NHA.OP_FLAGS': 609,
  'NFTA_SET.COUNT': 616,
  'NFTA_SET.TYPE': 616,
  'AUX.HWCAP3': 609,
  'AUX.HWCAP4': 609,
  'BPF_MAP_TYPES.CGROUP_STORAGE_DEPRECATED': 602,
  'BPF_MAP_TYPES.PERCPU_CGROUP_STORAGE_DEPRECATED': 604,
  'BPF_MAP_TYPES.CGRP_STORAGE': 602,
  'BPF_MAP_TYPES.ARENA': 609,
  'F.DUPFD_QUERY': 610,
  'F_SEAL.EXEC': 603,
  'IORING_SETUP.NO_MMAP': 605,
  'IORING_SETUP.REGISTERED_FD_ONLY': 605,
  'IORING_SETUP.NO_SQARRAY': 606,
  'IORING_SETUP.HYBRID_IOPOLL': 613,
  'IORING_SETUP.CQE_MIXED': 618,
  'MADV.GUARD_INSTALL': 613,
  'MADV.GUARD_REMOVE': 613,
  'MAP.DROPPABLE': 611,
  'MEMBARRIER.GET_REGISTRATIONS': 603,
  'MPOL.WEIGHTED_INTERLEAVE': 609,
  'MFD.EXEC': 603,
  'MFD.NOEXEC_SEAL': 603,
  'NR_X86_64.cachestat': 605,
  'NR_X86_64.fchmodat2': 606,
  'NR_X86_64.map_shadow_stack': 606,
  'NR_X86_64.futex_wake': 607,
  'NR_X86_64.futex_wait': 607,
  'NR_X86_64.futex_requeue': 607,
  'NR_X86_64.statmount': 608,
  'NR_X86_64.listmount': 608,
  'NR_X86_64.lsm_get_self_attr': 608,
  'NR_X86_64.lsm_set_self_attr': 608,
  'NR_X86_64.lsm_list_modules': 608,
  'NR_X86_64.mseal': 610,
  'NR_X86_64.setxattrat': 613,
  'NR_X86_64.getxattrat': 613,
  'NR_X86_64.listxattrat': 613,
  'NR_X86_64.removexattrat': 613,
  'NR_X86_64.open_tree_attr': 615,
  'NR_X86_64.file_getattr': 617,
  'NR_X86_64.file_setattr': 617,
  PAGEMAP_SCAN: 607,
  'PAGE_IS.*': 607,
  'PAGE_IS.GUARD': 615,
  'UFFD_FEATURE.WP_ASYNC': 607,
  UFFDIO_POISON: 606,
  'PACKET.VNET_HDR_SZ': 605,
  'PIDFD.THREAD': 609,
  'PM_SCAN.*': 607,
  PROCMAP_QUERY: 611,
  'PR.SET_MDWE': 603,
  'PR.GET_MDWE': 603,
  'PR.SET_MEMORY_MERGE': 604,
  'PR.GET_MEMORY_MERGE': 604,
  'PR.TIMER_CREATE_RESTORE_IDS': 615,
  'PR_TIMER_CREATE_RESTORE_IDS.*': 615,
  'PTRACE.SET_SYSCALL_USER_DISPATCH_CONFIG': 604,
  'PTRACE.GET_SYSCALL_USER_DISPATCH_CONFIG': 604,
  PageRegion: 607,
  PmScanArg: 607,
  ProcmapQuery: 611,
  'Rseq.nodeId': 603,
  'Rseq.mmCid': 603,
  'SCHED.EXT': 612,
  'SO.PASSPIDFD': 605,
  'SO.PASSRIGHTS': 616,
  'SO.RCVPRIORITY': 614,
  'STATMOUNT.*': 608,
  'STATMOUNT.MNT_NS_ID': 610,
  'STATMOUNT.MNT_OPTS': 611,
  'STATX.MNT_ID_UNIQUE': 608,
  'TCP.AO_INFO': 607,
  'TCP.AO_GET_KEYS': 607,
  'TCP.AO_REPAIR': 607,
  'TCP.IS_MPTCP': 607,
  'TCP.RTO_MAX_MS': 615,
  'TCP.RTO_MIN_US': 616,
  'TCP.DELACK_MAX_US': 616,
};

/** What no header for programs has, and why. `NAME.*` stands for all members. */
export const UNKNOWN: Readonly<Record<string, string>> = {
  MountRequest: 'struct mnt_id_req is of Linux 6.8',
  Statmount: 'struct statmount is of Linux 6.8, the maps in it of 6.15',
  AIO_RING_MAGIC: 'fs/aio.c: programs are not to look into the ring',
  ALL_SIGNALS: 'no constant: a mask of 64 bits that are all set',
  AioRing: 'fs/aio.c: programs are not to look into the ring',
  ERESTART_RESTARTBLOCK: 'include/linux/errno.h',
  'FS_MAGIC.MQUEUE_MAGIC': 'ipc/mqueue.c',
  IO_RINGFD_REG_MAX: 'io_uring/tctx.h',
  MNT_DETACH: 'include/linux/fs.h, and sys/mount.h of the C library',
  IPC_PERMISSIONS: 'no constant: S_IRWXUGO',
  MAX_RW_COUNT: 'include/linux/fs.h',
  LOCK_MARK: "CRIU's number",
  'PAGEMAP.*': 'fs/proc/task_mmu.c; Documentation/admin-guide/mm/pagemap.rst',
  'PF.*': 'include/linux/sched.h',
  SCM_MAX_FD: 'include/net/scm.h',
  'SHM_MODE.*': 'include/linux/shm.h',
  'SCM.PIDFD': 'include/linux/socket.h; the C library has it from glibc 2.39 on',
  SUID_DUMP_ROOT: 'include/linux/sched/coredump.h',
  TUN_SNDBUF: 'drivers/net/tun.c: INT_MAX',
  TUN_VNET_HEADER: 'drivers/net/tun.c: sizeof(struct virtio_net_hdr)',
  USER_END: 'arch/x86/include/asm/page_64_types.h: DEFAULT_MAP_WINDOW',
  'UDP.SEND_CSCOV': 'include/net/udplite.h',
  'UDP.RECV_CSCOV': 'include/net/udplite.h',
};

/** The struct that a layout is, and the names of its fields in our order (- for what has no name); or how it begins. */
export interface LayoutInC {
  readonly type: string;
  readonly fields: string;
  readonly isBeginning?: boolean;
}
const whole = (type: string, fields: string): LayoutInC => ({ type, fields });
const beginning = (type: string, fields: string): LayoutInC => ({ type, fields, isBeginning: true });
const of = (member: string, fields: string): string => fields.replace(/[^ ]+/g, `${member}.$&`);

export const LAYOUTS: Readonly<Record<string, LayoutInC>> = {
  // Mounts.
  OpenHow: whole('struct open_how', 'flags mode resolve'),
  MountAttr: whole('struct mount_attr', 'attr_set attr_clr propagation userns_fd'),
  // Files.
  StatxTime: whole('struct statx_timestamp', 'tv_sec tv_nsec -'),
  Statx: beginning(
    'struct statx',
    'stx_mask stx_blksize stx_attributes stx_nlink stx_uid stx_gid stx_mode - stx_ino stx_size stx_blocks ' +
      'stx_attributes_mask stx_atime stx_btime stx_ctime stx_mtime stx_rdev_major stx_rdev_minor stx_dev_major ' +
      'stx_dev_minor stx_mnt_id stx_dio_mem_align stx_dio_offset_align',
  ),
  FOwnerEx: whole('struct f_owner_ex', 'type pid'),
  Flock: whole('struct flock', 'l_type l_whence l_start l_len l_pid'),
  Pollfd: whole('struct pollfd', 'fd events revents'),
  EpollEvent: whole('struct epoll_event', 'events data'),
  // eBPF.
  BpfMapCreate: beginning(
    'union bpf_attr',
    'map_type key_size value_size max_entries map_flags inner_map_fd numa_node map_name map_ifindex btf_fd ' +
      'btf_key_type_id btf_value_type_id btf_vmlinux_value_type_id map_extra',
  ),
  BpfBatch: beginning('union bpf_attr', of('batch', 'in_batch out_batch keys values count map_fd elem_flags flags')),
  BpfInfo: beginning('union bpf_attr', 'info.bpf_fd info.info_len info.info'),
  BpfId: beginning('union bpf_attr', 'map_id next_id open_flags'),
  BpfMapInfo: beginning(
    'struct bpf_map_info',
    'type id key_size value_size max_entries map_flags name ifindex btf_vmlinux_value_type_id netns_dev netns_ino ' +
      'btf_id btf_key_type_id btf_value_type_id - map_extra',
  ),
  BpfProgInfo: beginning(
    'struct bpf_prog_info',
    'type id tag jited_prog_len xlated_prog_len jited_prog_insns xlated_prog_insns load_time created_by_uid ' +
      'nr_map_ids map_ids name',
  ),
  BpfProgLoad: beginning(
    'union bpf_attr',
    'prog_type insn_cnt insns license log_level log_size log_buf kern_version prog_flags prog_name prog_ifindex ' +
      'expected_attach_type prog_btf_fd func_info_rec_size func_info func_info_cnt line_info_rec_size line_info ' +
      'line_info_cnt attach_btf_id attach_prog_fd',
  ),
  BpfLinkCreate: beginning(
    'union bpf_attr',
    of('link_create', 'prog_fd target_fd attach_type flags iter_info iter_info_len'),
  ),
  BpfIterCreate: beginning('union bpf_attr', of('iter_create', 'link_fd flags')),
  BpfIterTask: beginning('union bpf_iter_link_info', of('task', 'tid pid pid_fd')),
  BpfInstruction: whole('struct bpf_insn', 'code - off imm'),
  // TCP.
  TcpInfo: beginning(
    'struct tcp_info',
    'tcpi_state tcpi_ca_state tcpi_retransmits tcpi_probes tcpi_backoff tcpi_options - - tcpi_rto tcpi_ato ' +
      'tcpi_snd_mss tcpi_rcv_mss tcpi_unacked tcpi_sacked',
  ),
  RepairWindow: whole('struct tcp_repair_window', 'snd_wl1 snd_wnd max_window rcv_wnd rcv_wup'),
  RepairOption: whole('struct tcp_repair_opt', 'opt_code opt_val'),
  // Memory.
  Iovec: whole('struct iovec', 'iov_base iov_len'),
  PmScanArg: whole(
    'struct pm_scan_arg',
    'size flags start end walk_end vec vec_len max_pages category_inverted category_mask category_anyof_mask ' +
      'return_mask',
  ),
  PageRegion: whole('struct page_region', 'start end categories'),
  ProcmapQuery: whole(
    'struct procmap_query',
    'size query_flags query_addr vma_start vma_end vma_flags vma_page_size vma_offset inode dev_major dev_minor ' +
      'vma_name_size build_id_size vma_name_addr build_id_addr',
  ),
  Fiemap: whole('struct fiemap', 'fm_start fm_length fm_flags fm_mapped_extents fm_extent_count fm_reserved'),
  FiemapExtent: whole('struct fiemap_extent', 'fe_logical fe_physical fe_length fe_reserved64 fe_flags fe_reserved'),
  UffdioApi: whole('struct uffdio_api', 'api features ioctls'),
  UffdioRegister: whole('struct uffdio_register', 'range.start range.len mode ioctls'),
  UffdioCopy: whole('struct uffdio_copy', 'dst src len mode copy'),
  UffdioZeropage: whole('struct uffdio_zeropage', 'range.start range.len mode zeropage'),
  UffdMsg: whole('struct uffd_msg', 'event reserved1 arg'),
  // Netlink.
  Nlmsghdr: whole('struct nlmsghdr', 'nlmsg_len nlmsg_type nlmsg_flags nlmsg_seq nlmsg_pid'),
  Nlattr: whole('struct nlattr', 'nla_len nla_type'),
  Nfgenmsg: whole('struct nfgenmsg', 'nfgen_family version res_id'),
  Ifinfomsg: whole('struct ifinfomsg', 'ifi_family __ifi_pad ifi_type ifi_index ifi_flags ifi_change'),
  Rtgenmsg: { type: 'struct rtgenmsg', fields: 'rtgen_family - -', isBeginning: true },
  Ifaddrmsg: whole('struct ifaddrmsg', 'ifa_family ifa_prefixlen ifa_flags ifa_scope ifa_index'),
  Rtmsg: whole(
    'struct rtmsg',
    'rtm_family rtm_dst_len rtm_src_len rtm_tos rtm_table rtm_protocol rtm_scope rtm_type rtm_flags',
  ),
  FibRuleHdr: whole('struct fib_rule_hdr', 'family dst_len src_len tos table res1 res2 action flags'),
  Ndmsg: whole('struct ndmsg', 'ndm_family ndm_pad1 ndm_pad2 ndm_ifindex ndm_state ndm_flags ndm_type'),
  Nhmsg: whole('struct nhmsg', 'nh_family nh_scope nh_protocol resvd nh_flags'),
  Tcmsg: whole('struct tcmsg', 'tcm_family tcm__pad1 tcm__pad2 tcm_ifindex tcm_handle tcm_parent tcm_info'),
  InetDiagSockid: whole('struct inet_diag_sockid', 'idiag_sport idiag_dport idiag_src idiag_dst idiag_if idiag_cookie'),
  InetDiagReq: whole('struct inet_diag_req_v2', 'sdiag_family sdiag_protocol idiag_ext pad idiag_states id'),
  InetDiagMsg: whole(
    'struct inet_diag_msg',
    'idiag_family idiag_state idiag_timer idiag_retrans id idiag_expires idiag_rqueue idiag_wqueue idiag_uid ' +
      'idiag_inode',
  ),
  UnixDiagReq: whole(
    'struct unix_diag_req',
    'sdiag_family sdiag_protocol pad udiag_states udiag_ino udiag_show udiag_cookie',
  ),
  UnixDiagMsg: whole('struct unix_diag_msg', 'udiag_family udiag_type udiag_state pad udiag_ino udiag_cookie'),
  PacketDiagReq: whole('struct packet_diag_req', 'sdiag_family sdiag_protocol pad pdiag_ino pdiag_show pdiag_cookie'),
  PacketDiagMsg: whole('struct packet_diag_msg', 'pdiag_family pdiag_type pdiag_num pdiag_ino pdiag_cookie'),
  PacketDiagInfo: whole(
    'struct packet_diag_info',
    'pdi_index pdi_version pdi_reserve pdi_copy_thresh pdi_tstamp pdi_flags',
  ),
  PacketDiagMclist: whole('struct packet_diag_mclist', 'pdmc_index pdmc_count pdmc_type pdmc_alen pdmc_addr'),
  PacketDiagRing: whole(
    'struct packet_diag_ring',
    'pdr_block_size pdr_block_nr pdr_frame_size pdr_frame_nr pdr_retire_tmo pdr_sizeof_priv pdr_features',
  ),
  NetlinkDiagReq: whole('struct netlink_diag_req', 'sdiag_family sdiag_protocol pad ndiag_ino ndiag_show ndiag_cookie'),
  NetlinkDiagMsg: whole(
    'struct netlink_diag_msg',
    'ndiag_family ndiag_type ndiag_protocol ndiag_state ndiag_portid ndiag_dst_portid ndiag_dst_group ndiag_ino ' +
      'ndiag_cookie',
  ),
  // Tracing.
  PeeksiginfoArgs: whole('struct ptrace_peeksiginfo_args', 'off flags nr'),
  RseqConfiguration: whole('struct ptrace_rseq_configuration', 'rseq_abi_pointer rseq_abi_size signature flags pad'),
  SeccompMetadata: whole('struct seccomp_metadata', 'filter_off flags'),
  // Signals.
  Siginfo: beginning('siginfo_t', 'si_signo si_errno si_code - si_pid si_uid si_value'),
  SiginfoTimer: beginning('siginfo_t', 'si_signo si_errno si_code - si_tid si_overrun si_value'),
  SiginfoFault: beginning('siginfo_t', 'si_signo si_errno si_code - si_addr'),
  Sigaction: whole('struct sigaction', 'sa_handler sa_flags sa_restorer sa_mask'),
  StackT: whole('stack_t', 'ss_sp ss_flags ss_size'),
  Sigevent: whole('struct sigevent', 'sigev_value sigev_signo sigev_notify _sigev_un._tid -'),
  // Sockets.
  Msghdr: whole('struct msghdr', 'msg_name msg_namelen msg_iov msg_iovlen msg_control msg_controllen msg_flags'),
  SockaddrNl: whole('struct sockaddr_nl', 'nl_family nl_pad nl_pid nl_groups'),
  PacketMreq: beginning('struct packet_mreq', 'mr_ifindex mr_type mr_alen mr_address'),
  TpacketReq: whole(
    'struct tpacket_req3',
    'tp_block_size tp_block_nr tp_frame_size tp_frame_nr tp_retire_blk_tov tp_sizeof_priv tp_feature_req_word',
  ),
  Linger: whole('struct linger', 'l_onoff l_linger'),
  SockTxtime: whole('struct sock_txtime', 'clockid flags'),
  Ifreq: whole('struct ifreq', 'ifr_ifrn ifr_ifru'),
  Cmsghdr: whole('struct cmsghdr', 'cmsg_len cmsg_level cmsg_type'),
  Ucred: whole('struct ucred', 'pid uid gid'),
  // Tasks.
  Utsname: whole('struct new_utsname', 'sysname nodename release version machine domainname'),
  Ipc64Perm: whole('struct ipc64_perm', 'key uid gid cuid cgid mode seq - - -'),
  Msqid64: whole(
    'struct msqid64_ds',
    'msg_perm msg_stime msg_rtime msg_ctime msg_cbytes msg_qnum msg_qbytes msg_lspid msg_lrpid - -',
  ),
  MqAttr: whole('struct mq_attr', 'mq_flags mq_maxmsg mq_msgsize mq_curmsgs - - - -'),
  Sembuf: whole('struct sembuf', 'sem_num sem_op sem_flg'),
  Rlimit64: whole('struct rlimit64', 'rlim_cur rlim_max'),
  CloneArgs: whole(
    'struct clone_args',
    'flags pidfd child_tid parent_tid exit_signal stack stack_size tls set_tid set_tid_size cgroup',
  ),
  PrctlMmMap: whole(
    'struct prctl_mm_map',
    'start_code end_code start_data end_data start_brk brk start_stack arg_start arg_end env_start env_end auxv ' +
      'auxv_size exe_fd',
  ),
  SchedAttr: whole(
    'struct sched_attr',
    'size sched_policy sched_flags sched_nice sched_priority sched_runtime sched_deadline sched_period ' +
      'sched_util_min sched_util_max',
  ),
  RobustListHead: whole('struct robust_list_head', 'list futex_offset list_op_pending'),
  Rseq: beginning('struct rseq', 'cpu_id_start cpu_id rseq_cs flags node_id mm_cid'),
  RseqCs: whole('struct rseq_cs', 'version flags start_ip post_commit_offset abort_ip'),
  CapHeader: whole('struct __user_cap_header_struct', 'version pid'),
  CapWord: whole('struct __user_cap_data_struct', 'effective permitted inheritable'),
  // Times.
  Timespec: whole('struct __kernel_timespec', 'tv_sec tv_nsec'),
  Timeval: whole('struct __kernel_old_timeval', 'tv_sec tv_usec'),
  Itimerspec: whole('struct __kernel_itimerspec', 'it_interval it_value'),
  Itimerval: whole('struct __kernel_old_itimerval', 'it_interval it_value'),
  // seccomp.
  SockFilter: whole('struct sock_filter', 'code jt jf k'),
  SeccompData: whole('struct seccomp_data', 'nr arch instruction_pointer args'),
  // Asynchronous I/O.
  IoEvent: whole('struct io_event', 'data obj res res2'),
  Iocb: whole(
    'struct iocb',
    'aio_data aio_key aio_rw_flags aio_lio_opcode aio_reqprio aio_fildes aio_buf aio_nbytes aio_offset - aio_flags ' +
      'aio_resfd',
  ),
  // Terminals.
  Termios: whole('struct termios', 'c_iflag c_oflag c_cflag c_lflag c_line c_cc'),
  Termios2: whole('struct termios2', 'c_iflag c_oflag c_cflag c_lflag c_line c_cc c_ispeed c_ospeed'),
  Winsize: whole('struct winsize', 'ws_row ws_col ws_xpixel ws_ypixel'),
  // io_uring.
  SqOffsets: whole('struct io_sqring_offsets', 'head tail ring_mask ring_entries flags dropped array - -'),
  CqOffsets: whole('struct io_cqring_offsets', 'head tail ring_mask ring_entries overflow cqes flags - -'),
  UringParams: whole(
    'struct io_uring_params',
    'sq_entries cq_entries flags sq_thread_cpu sq_thread_idle features wq_fd resv sq_off cq_off',
  ),
  Sqe: whole('struct io_uring_sqe', 'opcode flags ioprio fd off addr len rw_flags user_data -'),
};
