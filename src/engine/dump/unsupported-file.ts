/** Open files that no kind carries: which code the obstacle has, why, and what somebody can do about it. */

import type { ErrorCode } from '../../base/error-codes.ts';
import { StasisError } from '../../base/errors.ts';
import type { OpenFile } from '../../contract/contract.ts';
import { S_IF } from '../../kernel/constants/files.ts';
import { type SocketFacts, socketFacts } from '../../kernel/socket-facts.ts';
import { aboutFile } from '../../support/fdinfo.ts';
import { isBareName } from './bare-name.ts';

interface Refusal {
  readonly code: ErrorCode;
  readonly reason: string;
  readonly remedy: string;
}

/** Files by how their link in /proc begins. */
const BY_LINK: readonly (readonly [prefix: string, refusal: Refusal])[] = [
  [
    'anon_inode:[perf_event]',
    {
      code: 'FILE_PERF_EVENT',
      reason: 'a performance counter (perf_event_open) cannot be carried',
      remedy: 'end the measurement or the profiler before the dump',
    },
  ],
  [
    'anon_inode:[userfaultfd]',
    {
      code: 'FILE_USERFAULTFD',
      reason: 'a userfaultfd, by which a process fills memory itself, is not carried yet',
      remedy: 'wait until the program has closed it: lazy migration and some garbage collectors use it for a time',
    },
  ],
  [
    'anon_inode:bpf',
    {
      code: 'FILE_BPF',
      reason: 'programs, links and iterators of eBPF cannot be carried: they are parts of the kernel at work',
      remedy: 'pin them (bpftool), and have the program close them and open them again after the restore',
    },
  ],
  [
    'anon_inode:btf',
    {
      code: 'FILE_BPF',
      reason: 'a description of types of eBPF programs (BTF) cannot be carried without these',
      remedy: 'have the program close it before the dump, and load it again after the restore',
    },
  ],
  [
    'anon_inode:kvm',
    {
      code: 'FILE_KVM',
      reason: 'a virtual machine of KVM cannot be carried',
      remedy: 'save the machine by its own means (migration or savevm of QEMU), and end it before the dump',
    },
  ],
  [
    'anon_inode:[landlock-ruleset]',
    {
      code: 'FILE_UNKNOWN',
      reason: 'a ruleset of Landlock cannot be read by anybody',
      remedy: 'dump the program before it makes its sandbox, or when it has closed the ruleset',
    },
  ],
  [
    'anon_inode:[fscontext]',
    {
      code: 'FILE_UNKNOWN',
      reason: 'a file system that is being set up (fsopen) cannot be read',
      remedy: 'dump the program when it has mounted it (fsmount) and closed the descriptor',
    },
  ],
  [
    '/dmabuf:',
    {
      code: 'FILE_DEVICE',
      reason: 'it is a buffer of a device (dma-buf), whose driver alone knows its content',
      remedy: 'have the program leave the graphics or video device before the dump',
    },
  ],
  [
    'anon_inode:sync_file',
    {
      code: 'FILE_DEVICE',
      reason: 'it is a fence of a device (sync_file), whose driver alone knows its state',
      remedy: 'have the program leave the graphics or video device before the dump',
    },
  ],
  [
    'anon_inode:[vfio',
    {
      code: 'FILE_DEVICE',
      reason: 'a device that is given to the program (VFIO) keeps state that cannot be read',
      remedy: 'take the device from the virtual machine or program before the dump',
    },
  ],
  [
    'anon_inode:seccomp notify',
    {
      code: 'FILE_SECCOMP_LISTENER',
      reason: 'it is the supervisor of a seccomp filter, whose listener cannot be made again',
      remedy: 'dump the supervised tasks and their supervisor only when they run without the filter',
    },
  ],
];

const CLOSE = 'have the program close it before the dump';

/** Why sockets of some families are not carried: by the names of kernel/socket-facts.ts. */
const FAMILY_REASONS: Readonly<Record<string, string>> = {
  vsock: 'the other end is a virtual machine or its host, which knows nothing of a move',
  alg: 'the kernel does not give the keys and the state of its ciphers',
  xdp: 'the kernel does not tell what its rings are made of',
  can: 'the kernel does not tell its filters',
  bluetooth: 'the state of the connection is in the radio device',
};

function refuseSocket(facts: SocketFacts | undefined): Refusal {
  const { family, protocol } = facts ?? { family: 'unknown', protocol: undefined };
  if (family === 'inet' || family === 'inet6') {
    const reason = `the kernel has no way to read and rebuild the state of sockets of ${protocol}`;
    return { code: 'SOCKET_PROTOCOL', reason, remedy: CLOSE };
  }
  const why = FAMILY_REASONS[family];
  const reason = `sockets of family ${family} are not carried${why ? `: ${why}` : ''}`;
  return { code: 'SOCKET_FAMILY', reason, remedy: CLOSE };
}

/** What to do about devices people do have open. */
const DEVICES: readonly (readonly [path: RegExp, remedy: string])[] = [
  [/^\/dev\/fuse/, 'it serves a file system: unmount that (fusermount -u), and mount it again after the restore'],
  [/^\/dev\/(nvidia|dri|kfd)/, 'have the program leave the graphics processor before the dump'],
  [/^\/dev\/kvm/, 'save the machine by its own means (migration or savevm of QEMU), and end it before the dump'],
];

function refuseDevice(link: string): Refusal {
  const remedy = DEVICES.find(([path]) => path.test(link))?.[1] ?? CLOSE;
  return { code: 'FILE_DEVICE', reason: 'what its driver keeps for whoever has it open cannot be read', remedy };
}

const BARE_NAME: Refusal = {
  code: 'FILE_NAMELESS',
  reason: 'it is opened with O_PATH and has no path by which it could be opened again',
  remedy: 'have the program close it before the dump',
};

/** The obstacle of a descriptor no kind carries. */
export function unsupportedFile(file: OpenFile): StasisError {
  return new StasisError({ kind: 'unsupported', ...aboutFile(file), ...refusalOf(file) });
}

function refusalOf(file: OpenFile): Refusal {
  const { link, local, stat } = file;
  if (isBareName(file)) return BARE_NAME;
  const type = stat.mode & S_IF.MT;
  if (type === S_IF.CHR || type === S_IF.BLK) return refuseDevice(link);
  if (link.startsWith('socket:[')) return refuseSocket(socketFacts(local));
  const known = BY_LINK.find(([prefix]) => link.startsWith(prefix));
  if (known) return known[1];
  return { code: 'FILE_UNKNOWN', reason: 'Stasis does not carry open files of this kind yet', remedy: CLOSE };
}
