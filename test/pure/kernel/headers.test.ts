/**
 * Layouts and constants against the kernel's own headers: a C program prints what the compiler makes of them. What the
 * installed headers do not know yet is left out, by name. Where there is no compiler, nothing is compared.
 */
import { describe, expect, test } from 'bun:test';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as cBpf from '../../../src/kernel/constants/bpf.ts';
import * as cFiles from '../../../src/kernel/constants/files.ts';
import * as cInet from '../../../src/kernel/constants/inet.ts';
import * as cIpc from '../../../src/kernel/constants/ipc.ts';
import * as cMemory from '../../../src/kernel/constants/memory.ts';
import * as cPrctl from '../../../src/kernel/constants/prctl.ts';
import * as cPtrace from '../../../src/kernel/constants/ptrace.ts';
import * as cSignals from '../../../src/kernel/constants/signals.ts';
import * as cSockets from '../../../src/kernel/constants/sockets.ts';
import * as cTasks from '../../../src/kernel/constants/tasks.ts';
import * as cTty from '../../../src/kernel/constants/tty.ts';
import * as cTun from '../../../src/kernel/constants/tun.ts';
import * as cUring from '../../../src/kernel/constants/uring.ts';
import * as bpf from '../../../src/kernel/layouts/bpf.ts';
import * as files from '../../../src/kernel/layouts/files.ts';
import * as memory from '../../../src/kernel/layouts/memory.ts';
import * as ptrace from '../../../src/kernel/layouts/ptrace.ts';
import * as signals from '../../../src/kernel/layouts/signals.ts';
import * as sockets from '../../../src/kernel/layouts/sockets.ts';
import * as tasks from '../../../src/kernel/layouts/tasks.ts';
import * as time from '../../../src/kernel/layouts/time.ts';
import * as tty from '../../../src/kernel/layouts/tty.ts';
import * as uring from '../../../src/kernel/layouts/uring.ts';

interface Layout {
  readonly size: number;
  readonly offsets: Readonly<Record<string, number>>;
}

/** Something the compiler is asked for, and what it should say. */
interface Question {
  readonly c: string;
  readonly value: bigint;
}

/** Headers of the kernel for user space; no C library, whose headers contradict them. */
const UAPI = [
  ...['fcntl', 'stat', 'fs', 'memfd', 'falloc', 'kcmp', 'mman', 'prctl', 'securebits', 'personality', 'ptrace'],
  ...['elf', 'wait', 'sched', 'sched/types', 'ioprio', 'time', 'time_types', 'resource', 'capability', 'auxvec'],
  ...['rseq', 'seccomp', 'keyctl', 'membarrier', 'ipc', 'shm', 'sem', 'eventpoll', 'timerfd', 'inotify', 'mount'],
  ...['netlink', 'fiemap', 'uio', 'futex', 'eventfd', 'signal'],
].map((name) => `linux/${name}.h`);
const ASM = ['ioctls', 'termbits', 'signal', 'siginfo', 'socket', 'prctl', 'auxvec'].map((name) => `asm/${name}.h`);
const KERNEL = [...UAPI, ...ASM, 'asm-generic/termios.h'];
const BPF_HEADERS = ['linux/bpf.h'];
const INET_HEADERS = ['linux/in.h', 'linux/in6.h', 'linux/tcp.h'];
const URING_HEADERS = ['linux/io_uring.h'];
/** What only the C library declares for programs. */
const LIBRARY = ['sys/socket.h', 'sys/uio.h', 'netinet/tcp.h', 'unistd.h', 'fcntl.h'];

/** Names of the fields in C, in our order; - for what has no name there. */
function layout(of: Layout, type: string, fields: string): Question[] {
  const names = fields.split(' ');
  return Object.values(of.offsets)
    .map((offset, i): Question => ({ c: `__builtin_offsetof(${type}, ${names[i]})`, value: BigInt(offset) }))
    .filter((_, i) => names[i] !== '-');
}

/** The same, and that the struct is as large. */
function whole(of: Layout, type: string, fields: string): Question[] {
  return [{ c: `sizeof(${type})`, value: BigInt(of.size) }, ...layout(of, type, fields)];
}

type Constants = Readonly<Record<string, number | bigint>>;

/** Constants whose names in C begin with `prefix`; some have other names, '' for none. */
function constants(prefix: string, of: Constants, others: Readonly<Record<string, string>> = {}): Question[] {
  return Object.entries(of)
    .map(([name, value]) => ({ c: others[name] ?? prefix + name, value: BigInt(value) }))
    .filter(({ c }) => c !== '');
}

/** Names by number. */
function numbered(prefix: string, names: readonly string[]): Question[] {
  return names.map((name, i) => ({ c: prefix + name, value: BigInt(i) }));
}

/** Asks the compiler; what it does not know is removed and asked no more. */
function ask(headers: readonly string[], questions: readonly Question[]): { wrong: string[]; unknown: string[] } {
  const dir = mkdtempSync(join(tmpdir(), 'stasis-headers-'));
  try {
    const unknown: string[] = [];
    for (let left = questions; ; ) {
      const source = join(dir, 'probe.c');
      writeFileSync(source, program(headers, left));
      const built = spawnSync('gcc', ['-w', '-fmax-errors=0', '-o', join(dir, 'probe'), source], { encoding: 'utf8' });
      if (built.status === 0) return { wrong: compare(join(dir, 'probe'), left), unknown };
      const bad = new Set([...built.stderr.matchAll(/probe\.c:(\d+):\d+: error/g)].map(([, line]) => Number(line)));
      const first = headers.length * 3 + PROLOGUE.length + 1;
      const kept = left.filter((_, i) => !bad.has(first + i));
      if (kept.length === left.length) throw new Error(built.stderr);
      unknown.push(...left.filter((question) => !kept.includes(question)).map(({ c }) => c));
      left = kept;
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

const PROLOGUE = ['int printf(const char *, ...);', 'int main(void) {'];

function program(headers: readonly string[], questions: readonly Question[]): string {
  return [
    ...headers.flatMap((header) => [`#if __has_include(<${header}>)`, `#include <${header}>`, '#endif']),
    ...PROLOGUE,
    ...questions.map(({ c }) => `printf("%lld\\n", (long long)(${c}));`),
    '}',
    '',
  ].join('\n');
}

function compare(probe: string, questions: readonly Question[]): string[] {
  const said = spawnSync(probe, { encoding: 'utf8' }).stdout.trim().split('\n');
  return questions.flatMap(({ c, value }, i) =>
    BigInt.asIntN(64, value) === BigInt(said[i] ?? -1) ? [] : [`${c} is ${said[i]}, not ${value}`],
  );
}

const hasCompiler = spawnSync('gcc', ['--version']).status === 0;

/** Nothing contradicts the headers, and they know some of it. */
function check(headers: readonly string[], questions: readonly Question[]): void {
  if (!hasCompiler) return;
  const { wrong, unknown } = ask(headers, questions);
  if (unknown.length > 0) console.log(`not in the installed headers: ${unknown.join(', ')}`);
  expect(wrong).toEqual([]);
  expect(unknown.length).toBeLessThan(questions.length);
}

describe('layouts are those of the headers', () => {
  test('files', () => {
    const statx =
      'stx_mask stx_blksize stx_attributes stx_nlink stx_uid stx_gid stx_mode - stx_ino stx_size stx_blocks ' +
      'stx_attributes_mask stx_atime stx_btime stx_ctime stx_mtime stx_rdev_major stx_rdev_minor stx_dev_major ' +
      'stx_dev_minor stx_mnt_id stx_dio_mem_align stx_dio_offset_align';
    check(KERNEL, [
      ...whole(files.StatxTime, 'struct statx_timestamp', 'tv_sec tv_nsec -'),
      ...layout(files.Statx, 'struct statx', statx),
      { c: 'sizeof(struct statx)', value: BigInt(files.STATX_SIZE) },
      ...whole(files.FOwnerEx, 'struct f_owner_ex', 'type pid'),
      ...whole(files.Flock, 'struct flock', 'l_type l_whence l_start l_len l_pid'),
      ...whole(files.EpollEvent, 'struct epoll_event', 'events data'),
    ]);
  });

  test('bpf', () => {
    const create =
      'map_type key_size value_size max_entries map_flags inner_map_fd numa_node map_name map_ifindex btf_fd ' +
      'btf_key_type_id btf_value_type_id btf_vmlinux_value_type_id map_extra';
    const batch = 'in_batch out_batch keys values count map_fd elem_flags flags';
    const map =
      'type id key_size value_size max_entries map_flags name ifindex btf_vmlinux_value_type_id netns_dev netns_ino ' +
      'btf_id btf_key_type_id btf_value_type_id - map_extra';
    const program =
      'type id tag jited_prog_len xlated_prog_len jited_prog_insns xlated_prog_insns load_time created_by_uid ' +
      'nr_map_ids map_ids name';
    const load =
      'prog_type insn_cnt insns license log_level log_size log_buf kern_version prog_flags prog_name prog_ifindex ' +
      'expected_attach_type prog_btf_fd func_info_rec_size func_info func_info_cnt line_info_rec_size line_info ' +
      'line_info_cnt attach_btf_id attach_prog_fd';
    const link = 'prog_fd target_fd attach_type flags iter_info iter_info_len';
    check(BPF_HEADERS, [
      ...layout(bpf.BpfMapCreate, 'union bpf_attr', create),
      ...layout(bpf.BpfBatch, 'union bpf_attr', batch.replace(/\w+/g, 'batch.$&')),
      ...layout(bpf.BpfInfo, 'union bpf_attr', 'info.bpf_fd info.info_len info.info'),
      ...layout(bpf.BpfId, 'union bpf_attr', 'map_id next_id open_flags'),
      ...layout(bpf.BpfMapInfo, 'struct bpf_map_info', map),
      ...layout(bpf.BpfProgInfo, 'struct bpf_prog_info', program),
      ...layout(bpf.BpfProgLoad, 'union bpf_attr', load),
      ...layout(bpf.BpfLinkCreate, 'union bpf_attr', link.replace(/\w+/g, 'link_create.$&')),
      ...layout(bpf.BpfIterCreate, 'union bpf_attr', 'iter_create.link_fd iter_create.flags'),
      ...layout(bpf.BpfIterTask, 'union bpf_iter_link_info', 'task.tid task.pid task.pid_fd'),
      { c: 'sizeof(struct bpf_insn)', value: BigInt(bpf.BpfInstruction.size) },
    ]);
  });

  test('io_uring', () => {
    const params = 'sq_entries cq_entries flags sq_thread_cpu sq_thread_idle features wq_fd resv sq_off cq_off';
    const sqe = 'opcode flags ioprio fd off addr len rw_flags user_data -';
    check(URING_HEADERS, [
      ...whole(uring.UringParams, 'struct io_uring_params', params),
      ...whole(uring.SqOffsets, 'struct io_sqring_offsets', 'head tail ring_mask ring_entries flags dropped array - -'),
      ...whole(uring.CqOffsets, 'struct io_cqring_offsets', 'head tail ring_mask ring_entries overflow cqes flags - -'),
      ...whole(uring.Sqe, 'struct io_uring_sqe', sqe),
    ]);
  });

  test('memory', () => {
    check(KERNEL, [
      ...whole(memory.Iovec, 'struct iovec', 'iov_base iov_len'),
      ...whole(
        memory.PmScanArg,
        'struct pm_scan_arg',
        'size flags start end walk_end vec vec_len max_pages category_inverted category_mask category_anyof_mask return_mask',
      ),
      ...whole(memory.PageRegion, 'struct page_region', 'start end categories'),
      ...whole(
        memory.ProcmapQuery,
        'struct procmap_query',
        'size query_flags query_addr vma_start vma_end vma_flags vma_page_size vma_offset inode dev_major dev_minor ' +
          'vma_name_size build_id_size vma_name_addr build_id_addr',
      ),
      ...whole(
        memory.Fiemap,
        'struct fiemap',
        'fm_start fm_length fm_flags fm_mapped_extents fm_extent_count fm_reserved',
      ),
      ...whole(
        memory.FiemapExtent,
        'struct fiemap_extent',
        'fe_logical fe_physical fe_length fe_reserved64 fe_flags fe_reserved',
      ),
    ]);
  });

  test('tasks, signals, times, tracing, terminals', () => {
    const mmMap =
      'start_code end_code start_data end_data start_brk brk start_stack arg_start arg_end env_start env_end auxv ' +
      'auxv_size exe_fd';
    check(KERNEL, [
      ...whole(tasks.Rlimit64, 'struct rlimit64', 'rlim_cur rlim_max'),
      ...whole(
        tasks.CloneArgs,
        'struct clone_args',
        'flags pidfd child_tid parent_tid exit_signal stack stack_size tls set_tid set_tid_size cgroup',
      ),
      ...whole(tasks.PrctlMmMap, 'struct prctl_mm_map', mmMap),
      ...whole(
        tasks.SchedAttr,
        'struct sched_attr',
        'size sched_policy sched_flags sched_nice sched_priority sched_runtime sched_deadline sched_period ' +
          'sched_util_min sched_util_max',
      ),
      ...whole(tasks.RobustListHead, 'struct robust_list_head', 'list futex_offset list_op_pending'),
      ...layout(tasks.Rseq, 'struct rseq', 'cpu_id_start cpu_id rseq_cs flags node_id mm_cid'),
      ...whole(tasks.RseqCs, 'struct rseq_cs', 'version flags start_ip post_commit_offset abort_ip'),
      ...whole(tasks.CapHeader, 'struct __user_cap_header_struct', 'version pid'),
      { c: 'sizeof(siginfo_t)', value: BigInt(signals.SIGINFO_SIZE) },
      ...layout(signals.Siginfo, 'siginfo_t', 'si_signo si_errno si_code - si_pid si_uid si_value'),
      ...layout(signals.SiginfoTimer, 'siginfo_t', 'si_signo si_errno si_code - si_tid si_overrun si_value'),
      ...layout(signals.SiginfoFault, 'siginfo_t', 'si_signo si_errno si_code - si_addr'),
      ...whole(signals.Sigaction, 'struct sigaction', 'sa_handler sa_flags sa_restorer sa_mask'),
      ...whole(signals.StackT, 'stack_t', 'ss_sp ss_flags ss_size'),
      ...whole(signals.Sigevent, 'struct sigevent', 'sigev_value sigev_signo sigev_notify _sigev_un._tid -'),
      ...whole(time.Timespec, 'struct __kernel_timespec', 'tv_sec tv_nsec'),
      ...whole(time.Timeval, 'struct __kernel_old_timeval', 'tv_sec tv_usec'),
      ...whole(time.Itimerspec, 'struct __kernel_itimerspec', 'it_interval it_value'),
      ...whole(time.Itimerval, 'struct __kernel_old_itimerval', 'it_interval it_value'),
      ...whole(ptrace.PeeksiginfoArgs, 'struct ptrace_peeksiginfo_args', 'off flags nr'),
      ...whole(
        ptrace.RseqConfiguration,
        'struct ptrace_rseq_configuration',
        'rseq_abi_pointer rseq_abi_size signature flags pad',
      ),
      ...whole(ptrace.SeccompMetadata, 'struct seccomp_metadata', 'filter_off flags'),
      ...whole(tty.Termios, 'struct termios', 'c_iflag c_oflag c_cflag c_lflag c_line c_cc'),
      ...whole(tty.Termios2, 'struct termios2', 'c_iflag c_oflag c_cflag c_lflag c_line c_cc c_ispeed c_ospeed'),
      ...whole(tty.Winsize, 'struct winsize', 'ws_row ws_col ws_xpixel ws_ypixel'),
    ]);
  });

  test('sockets', () => {
    check(LIBRARY, [
      ...whole(
        sockets.Msghdr,
        'struct msghdr',
        'msg_name msg_namelen msg_iov msg_iovlen msg_control msg_controllen msg_flags',
      ),
      // struct ucred needs _GNU_SOURCE; of a control message the length for three numbers is what matters.
      { c: 'CMSG_SPACE(12)', value: BigInt(sockets.rightsSpace(3)) },
    ]);
  });
});

describe('constants are those of the headers', () => {
  test('files', () => {
    check(KERNEL, [
      ...constants('O_', cFiles.O, { TMPFILE_BIT: '__O_TMPFILE', ASYNC: 'FASYNC' }),
      ...constants('F_', cFiles.F),
      ...constants('F_', cFiles.F_LCK),
      ...constants('F_OWNER_', cFiles.F_OWNER),
      ...constants('F_SEAL_', cFiles.F_SEAL),
      ...constants('LOCK_', cFiles.LOCK),
      ...constants('SEEK_', cFiles.SEEK),
      ...constants('AT_', cFiles.AT),
      ...constants('S_IF', cFiles.S_IF),
      ...constants('STATX_', cFiles.STATX),
      ...constants('RENAME_', cFiles.RENAME),
      ...constants('FALLOC_FL_', cFiles.FALLOC_FL),
      ...constants('MFD_', cFiles.MFD),
      ...constants('TFD_', cFiles.TFD),
      ...constants('EPOLL_CTL_', cFiles.EPOLL_CTL),
      ...constants('KCMP_', cFiles.KCMP),
      ...constants('STATMOUNT_', cFiles.STATMOUNT),
      { c: 'TFD_IOC_SET_TICKS', value: BigInt(cFiles.TFD_IOC_SET_TICKS) },
      { c: 'INOTIFY_IOC_SETNEXTWD', value: BigInt(cFiles.INOTIFY_IOC_SETNEXTWD) },
      { c: 'FD_CLOEXEC', value: BigInt(cFiles.FD_CLOEXEC) },
    ]);
  });

  test('memory and System V objects', () => {
    check(KERNEL, [
      ...constants('PROT_', cMemory.PROT),
      ...constants('MAP_', cMemory.MAP),
      ...constants('MREMAP_', cMemory.MREMAP),
      ...constants('MCL_', cMemory.MCL),
      ...constants('MADV_', cMemory.MADV),
      ...constants('PAGE_IS_', cMemory.PAGE_IS),
      ...constants('PM_SCAN_', cMemory.PM_SCAN),
      ...constants('MEMBARRIER_CMD_', cMemory.MEMBARRIER),
      ...constants('SHM_', cMemory.SHM),
      { c: 'PAGEMAP_SCAN', value: BigInt(cMemory.PAGEMAP_SCAN) },
      { c: 'PROCMAP_QUERY', value: BigInt(cMemory.PROCMAP_QUERY) },
      { c: 'MLOCK_ONFAULT', value: BigInt(cMemory.MLOCK_ONFAULT) },
      ...constants('IPC_', cIpc.IPC),
      ...constants('SHM_', cIpc.SHM_CTL),
      { c: 'GETPID', value: BigInt(cIpc.SEM_CTL.GETPID) },
    ]);
  });

  test('prctl and ptrace', () => {
    check(KERNEL, [
      ...constants('PR_', cPrctl.PR),
      ...constants('PR_SET_MM_', cPrctl.PR_SET_MM),
      ...constants('PR_CAP_AMBIENT_', cPrctl.PR_CAP_AMBIENT),
      ...constants('PR_SPEC_', cPrctl.PR_SPEC),
      ...Object.entries(cPrctl.SECBIT).map(([name, value]) => ({ c: `(1 << SECURE_${name})`, value: BigInt(value) })),
      ...constants('', cPrctl.PERSONALITY),
      ...constants('PTRACE_', cPtrace.PTRACE, { PEEKUSER: 'PTRACE_PEEKUSR', POKEUSER: 'PTRACE_POKEUSR' }),
      ...constants('PTRACE_O_', cPtrace.PTRACE_O),
      ...constants('PTRACE_EVENT_', cPtrace.PTRACE_EVENT),
      ...constants('NT_', cPtrace.NT),
      ...constants('ARCH_', cPtrace.ARCH),
      ...constants('W', cPtrace.W, { NOTHREAD: '__WNOTHREAD', ALL: '__WALL', CLONE: '__WCLONE' }),
      ...constants('P_', cPtrace.P),
    ]);
  });

  test('signals and terminals', () => {
    const { RTMIN, ...named } = cSignals.SIG;
    check(KERNEL, [
      ...constants('SIG', named, { RTMAX: '' }),
      { c: 'SIGRTMIN', value: BigInt(RTMIN) },
      ...constants('SIG_', cSignals.SIG_HOW),
      ...constants('SA_', cSignals.SA),
      ...constants('SS_', cSignals.SS),
      ...constants('SI_', cSignals.SI),
      ...constants('SIGEV_', cSignals.SIGEV),
      ...constants('CLD_', cSignals.CLD),
      ...constants('TRAP_', cSignals.TRAP),
      ...constants('', cTty.TTY_IOCTL),
      ...constants('', cTty.TERMIOS),
    ]);
  });

  test('bpf', () => {
    check(BPF_HEADERS, [
      ...constants('BPF_', cBpf.BPF),
      ...constants('BPF_F_', cBpf.BPF_F),
      ...numbered('BPF_MAP_TYPE_', cBpf.BPF_MAP_TYPES),
      ...constants('BPF_MAP_TYPE_', cBpf.BPF_MAP_TYPE),
      ...constants('BPF_PROG_TYPE_', cBpf.BPF_PROG_TYPE),
      ...constants('BPF_FUNC_', cBpf.BPF_FUNC),
      { c: 'BPF_TRACE_ITER', value: BigInt(cBpf.BPF_TRACE_ITER) },
    ]);
  });

  test('tun', () => {
    check(['linux/ioctl.h', 'linux/if_tun.h'], [...constants('', cTun.TUN_IOCTL), ...constants('IFF_', cTun.IFF)]);
  });

  test('io_uring', () => {
    check(URING_HEADERS, [
      ...constants('IORING_SETUP_', cUring.IORING_SETUP),
      ...constants('IORING_OFF_', cUring.IORING_OFF),
      ...constants('IORING_ENTER_', cUring.IORING_ENTER),
      ...constants('IORING_REGISTER_', cUring.IORING_REGISTER),
      ...constants('IORING_OP_', cUring.IORING_OP),
      { c: 'IOSQE_CQE_SKIP_SUCCESS', value: BigInt(cUring.IOSQE_CQE_SKIP_SUCCESS) },
    ]);
  });

  test('tasks', () => {
    check(KERNEL, [
      ...constants('CLONE_', cTasks.CLONE),
      ...constants('SCHED_', cTasks.SCHED),
      ...constants('SCHED_FLAG_', cTasks.SCHED_FLAG),
      ...constants('IOPRIO_', cTasks.IOPRIO),
      ...constants('PRIO_', cTasks.PRIO),
      ...constants('CLOCK_', cTasks.CLOCK),
      ...constants('ITIMER_', cTasks.ITIMER),
      ...numbered('RLIMIT_', cTasks.RLIMIT_NAMES),
      ...numbered('CAP_', cTasks.CAP_NAMES),
      { c: '_LINUX_CAPABILITY_VERSION_3', value: BigInt(cTasks.CAPABILITY_VERSION_3) },
      ...constants('AT_', cTasks.AUX),
      ...constants('SECCOMP_MODE_', cTasks.SECCOMP_MODE),
      ...constants('SECCOMP_SET_MODE_', cTasks.SECCOMP_SET_MODE),
      ...constants('SECCOMP_FILTER_FLAG_', cTasks.SECCOMP_FILTER_FLAG),
      ...constants('KEYCTL_', cTasks.KEYCTL),
      ...Object.entries(cTasks.KEY_SPEC).map(([name, value]) => ({
        c: `KEY_SPEC_${name}_KEYRING`,
        value: BigInt(value),
      })),
      { c: 'RSEQ_FLAG_UNREGISTER', value: BigInt(cTasks.RSEQ_FLAG_UNREGISTER) },
      ...constants('RSEQ_CS_FLAG_', cTasks.RSEQ_CS_FLAG),
    ]);
  });

  test('sockets', () => {
    check(INET_HEADERS, [
      ...constants('IP_', cInet.IP),
      ...constants('IPV6_', cInet.IPV6),
      ...constants('TCP_', cInet.TCP),
      ...constants('TCPI_OPT_', cInet.TCPI_OPT),
    ]);
    check(KERNEL, [
      ...constants('FUTEX_', cTasks.FUTEX),
      { c: '(FUTEX_CMD_MASK & 0x7f)', value: BigInt(cTasks.FUTEX_CMD_MASK) },
    ]);
    check(LIBRARY, [
      ...constants('AF_', cSockets.AF),
      ...constants('SOCK_', cSockets.SOCK),
      ...constants('SO_', cSockets.SO),
      ...constants('SHUT_', cSockets.SHUT),
      ...constants('MSG_', cSockets.MSG),
      ...constants('SCM_', cSockets.SCM, { CREDENTIALS: '' }),
      ...constants('TCP_', cSockets.TCP_STATE),
      { c: 'SOL_SOCKET', value: BigInt(cSockets.SOL_SOCKET) },
    ]);
  });
});
