/**
 * Looks at what the kernel keeps of open files and tasks and shows nowhere, by programs of eBPF that walk over
 * descriptors (iterators, Documentation/bpf/bpf_iterators.rst) and copy memory of the kernel. They only read. A kernel
 * without eBPF, without a description of its types, that is locked down, or that is older than 6.1, does not allow it.
 */
import { BpfProgram } from './bpf-program.ts';
import { Btf } from './btf.ts';
import { BPF, BPF_PROG_TYPE, BPF_TRACE_ITER } from './constants/bpf.ts';
import { Pins } from './ffi.ts';
import { tryRead } from './files.ts';
import { BpfIterCreate, BpfIterTask, BpfLinkCreate, BpfProgLoad } from './layouts/bpf.ts';
import { ERRNO, Fd, trySyscall } from './syscall.ts';

/** The types of the kernel, read once. */
let types: { readonly btf: Btf | undefined } | undefined;

/** The kernel's description of its types; undefined if it has none. */
export function kernelTypes(): Btf | undefined {
  types ??= { btf: Btf.ofKernel() };
  return types.btf;
}

/** Offsets in `struct bpf_iter__task_file`, the context of such a program. */
const CONTEXT = { meta: 0, task: 8, fd: 16, file: 24 } as const;

/** The program may use 512 bytes of stack; a piece lies below a word. */
const PIECE = 256;
const WORD_AT = -8;
const PIECE_AT = WORD_AT - PIECE;
/** How far lists are followed. The kernel's verifier follows each step of a loop, so long loops take long to load. */
const LENGTHS = [128, 4096];
/** The most bytes copied at once. */
const MOST = 32 * 1024;

/** The address of the structure behind one of our own descriptors (`file->private_data`); undefined if not allowed. */
export function privateData(fd: number): bigint | undefined {
  const offset = kernelTypes()?.offsetOf('file', 'private_data');
  if (offset === undefined) return undefined;
  const program = forDescriptor(fd, (program) => {
    program.load(8, 7, 2, offset);
    program.store(10, WORD_AT, 7);
    write(program, WORD_AT, 8);
  });
  return wordIn(runIterator(program, process.pid, 8));
}

/** The address of the kernel's task_struct of a thread that has `fd`; undefined if not allowed. */
export function taskAddress(tid: number, fd: number): bigint | undefined {
  const program = forDescriptor(fd, (program) => {
    program.load(8, 7, 6, CONTEXT.task);
    program.store(10, WORD_AT, 7);
    write(program, WORD_AT, 8);
  });
  return wordIn(runIterator(program, tid, 8));
}

/** The addresses of the open files behind the descriptors of a process, by number; undefined if not allowed. */
export function fileAddresses(pid: number, most: number): Map<number, bigint> | undefined {
  const program = forDescriptor(undefined, (program) => {
    program.load(4, 3, 6, CONTEXT.fd);
    program.store(10, WORD_AT, 3);
    program.store(10, WORD_AT - 8, 2);
    write(program, WORD_AT - 8, 16);
  });
  const bytes = runIterator(program, pid, 16 * most, true);
  if (!bytes) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = new Map<number, bigint>();
  for (let at = 0; at + 16 <= bytes.length; at += 16) {
    found.set(view.getUint32(at + 8, true), view.getBigUint64(at, true));
  }
  return found;
}

/** Reads memory of the kernel. `fd` is any open descriptor of ours. Undefined if not allowed. */
export function kernelBytes(fd: number, address: bigint, length: number): Uint8Array | undefined {
  if (length > MOST) return undefined;
  const program = forDescriptor(fd, (program) => {
    for (let at = 0; at < length; at += PIECE) {
      const part = Math.min(PIECE, length - at);
      program.setLong(3, address + BigInt(at));
      read(program, PIECE_AT, part);
      write(program, PIECE_AT, part);
    }
  });
  return runIterator(program, process.pid, length);
}

/**
 * The length of a list of the kernel whose elements begin with the pointer to the next one; `address` is that of the
 * pointer to the first. `fd` is any open descriptor of ours. Undefined if not allowed.
 */
export function listLength(fd: number, address: bigint): number | undefined {
  for (const most of LENGTHS) {
    const bytes = runIterator(counter(fd, address, most), process.pid, 8);
    const length = bytes && Number(new DataView(bytes.buffer).getBigUint64(0, true));
    if (length === undefined || length < most) return length;
  }
  return undefined;
}

function counter(fd: number, address: bigint, most: number): BpfProgram {
  return forDescriptor(fd, (program) => {
    program.set(9, 0);
    program.setLong(3, address);
    program.label('next');
    read(program, WORD_AT, 8);
    program.load(8, 3, 10, WORD_AT);
    program.jump('equal', 3, 0, 'counted');
    program.add(9, 1);
    program.jump('less', 9, most, 'next');
    program.label('counted');
    program.store(10, WORD_AT, 9);
    write(program, WORD_AT, 8);
  });
}

/**
 * A program that does `work` for each descriptor, or for `fd` alone. In it register 2 has the file, 6 the context, and
 * 8 what {@link write} needs.
 */
function forDescriptor(fd: number | undefined, work: (program: BpfProgram) => void): BpfProgram {
  const program = new BpfProgram();
  program.move(6, 1);
  program.load(8, 8, 6, CONTEXT.meta);
  program.load(8, 8, 8, 0); // meta->seq
  program.load(8, 2, 6, CONTEXT.file);
  program.jump('equal', 2, 0, 'end');
  program.load(4, 3, 6, CONTEXT.fd);
  if (fd !== undefined) program.jump('unequal', 3, fd, 'end');
  work(program);
  program.label('end');
  program.set(0, 0);
  program.exit();
  return program;
}

/** Copies from the address in register 3 to the stack; zeros, if nothing is there. */
function read(program: BpfProgram, at: number, length: number): void {
  program.move(1, 10);
  program.add(1, at);
  program.set(2, length);
  program.call('probe_read_kernel');
}

/** Writes a part of the stack to whoever reads the iterator. */
function write(program: BpfProgram, at: number, length: number): void {
  program.move(1, 8);
  program.move(2, 10);
  program.add(2, at);
  program.set(3, length);
  program.call('seq_write');
}

/** The word that a program has written; undefined if it has written none, or 0. */
function wordIn(bytes: Uint8Array | undefined): bigint | undefined {
  const word = bytes && new DataView(bytes.buffer).getBigUint64(0, true);
  return word === 0n ? undefined : word;
}

/**
 * Runs a program over the descriptors of a thread, and returns the `length` bytes it writes, or fewer if `atMost`;
 * undefined if it cannot.
 */
function runIterator(program: BpfProgram, tid: number, length: number, atMost = false): Uint8Array | undefined {
  const attachBtfId = kernelTypes()?.functionId('bpf_iter_task_file');
  if (attachBtfId === undefined) return undefined;
  using pins = new Pins();
  const address = (bytes: Uint8Array): bigint => BigInt(pins.address(bytes));
  const load = BpfProgLoad.encode({
    type: BPF_PROG_TYPE.TRACING,
    insnCount: program.length,
    insns: address(program.encode()),
    license: address(new TextEncoder().encode('GPL\0')),
    expectedAttachType: BPF_TRACE_ITER,
    attachBtfId,
  });
  using loaded = tryBpf(BPF.PROG_LOAD, load);
  if (!loaded) return undefined;
  const task = BpfIterTask.encode({ tid });
  const facts = { attachType: BPF_TRACE_ITER, iterInfo: address(task), iterInfoLength: task.length };
  using link = tryBpf(BPF.LINK_CREATE, BpfLinkCreate.encode({ progFd: loaded.number, ...facts }));
  if (!link) return undefined;
  using iterator = tryBpf(BPF.ITER_CREATE, BpfIterCreate.encode({ linkFd: link.number }));
  if (!iterator) return undefined;
  const bytes = new Uint8Array(length);
  const got = tryRead(iterator.number, bytes);
  if (atMost) return got < 0 ? undefined : bytes.subarray(0, got);
  return got === length ? bytes : undefined;
}

/** How often a call is made again that a signal has interrupted: the verifier gives up then (do_check()). */
const MOST_TRIES = 1000;

function tryBpf(command: number, attributes: Uint8Array): Fd | undefined {
  for (let tries = 0; tries < MOST_TRIES; tries++) {
    const fd = trySyscall('bpf', command, attributes, attributes.length);
    if (fd >= 0) return new Fd(fd);
    if (fd !== -ERRNO.EAGAIN && fd !== -ERRNO.EINTR) return undefined;
  }
  return undefined;
}
