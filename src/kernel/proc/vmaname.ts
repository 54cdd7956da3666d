/** What the name of a VMA in `maps`/`smaps` says; see {@link vmaName}. */

import { splitDeleted } from './common.ts';

/** The meaning of a VMA's name. `deleted` is explained at {@link splitDeleted}: it may be part of a name. */
export type VmaName =
  /** No name: private anonymous memory, or a special mapping of a driver. */
  | { readonly kind: 'none' }
  | { readonly kind: 'heap' | 'stack' | 'vdso' | 'vvar' | 'vvar_vclock' | 'vsyscall' | 'uprobes' }
  /** `[anon:NAME]`: private anonymous memory named with PR_SET_VMA_ANON_NAME (since 5.17, on Android much longer). */
  | { readonly kind: 'anon'; readonly label: string }
  /**
   * `/dev/zero (deleted)`: MAP_SHARED anonymous memory; with a label when printed as `[anon_shmem:NAME]` (since 6.2).
   */
  | { readonly kind: 'anonShmem'; readonly label: string | undefined }
  /** `/SYSVxxxxxxxx (deleted)`: SysV shared memory, the inode is the shmid. */
  | { readonly kind: 'sysv'; readonly key: number }
  /** `/memfd:NAME (deleted)`. */
  | { readonly kind: 'memfd'; readonly label: string }
  /** `/anon_hugepage (deleted)`: MAP_HUGETLB without a file. */
  | { readonly kind: 'anonHuge' }
  /** `/[aio] (deleted)`: the ring of an AIO context. */
  | { readonly kind: 'aio' }
  /** `anon_inode:[perf_event]`: the text after the colon. */
  | { readonly kind: 'anonInode'; readonly label: string }
  /** `socket:[123]` and the like: a pseudo file system that makes its names itself. */
  | { readonly kind: 'pseudo'; readonly text: string }
  /** `[…]` that this program does not know: architectures and drivers invent such names. */
  | { readonly kind: 'special'; readonly text: string }
  | { readonly kind: 'file'; readonly path: string; readonly deleted: boolean };

const BRACKETED = ['heap', 'stack', 'vdso', 'vvar', 'vvar_vclock', 'vsyscall', 'uprobes'] as const;

/**
 * Classifies the name of a VMA. File names always begin with a slash, so they cannot be mistaken for `[heap]`. But a
 * real file `/dev/zero` that was removed, or a removed `/memfd:x` or `/SYSV00000000` in the root directory, has the
 * same name as an object of the kernel. Where that matters, compare the device with that of the kernel's internal tmpfs
 * mount.
 */
export function vmaName(name: string): VmaName {
  let known = KNOWN.get(name);
  if (!known) {
    if (KNOWN.size === MOST_KNOWN) KNOWN.clear();
    known = classify(name);
    KNOWN.set(name, known);
  }
  return known;
}

/** What was found before: all tasks of a tree have mappings of the same few names, and every kind asks. */
const KNOWN = new Map<string, VmaName>();
const MOST_KNOWN = 1000;

function classify(name: string): VmaName {
  if (name === '') return { kind: 'none' };
  if (name.startsWith('/')) return fileName(name);
  if (name.startsWith('[') && name.endsWith(']')) return bracketName(name);
  if (name.startsWith('anon_inode:')) return { kind: 'anonInode', label: name.slice('anon_inode:'.length) };
  return { kind: 'pseudo', text: name };
}

function fileName(name: string): VmaName {
  const { path, deleted } = splitDeleted(name);
  if (deleted) {
    if (path === '/dev/zero') return { kind: 'anonShmem', label: undefined };
    if (path === '/anon_hugepage') return { kind: 'anonHuge' };
    if (path.startsWith('/memfd:')) return { kind: 'memfd', label: path.slice('/memfd:'.length) };
    if (/^\/SYSV[0-9a-f]{8}$/.test(path)) return { kind: 'sysv', key: Number.parseInt(path.slice(5), 16) };
  }
  if (path === '/[aio]') return { kind: 'aio' };
  return { kind: 'file', path, deleted };
}

function bracketName(name: string): VmaName {
  const inner = name.slice(1, -1);
  const known = BRACKETED.find((kind) => kind === inner);
  if (known) return { kind: known };
  if (inner.startsWith('anon:')) return { kind: 'anon', label: inner.slice('anon:'.length) };
  if (inner.startsWith('anon_shmem:')) return { kind: 'anonShmem', label: inner.slice('anon_shmem:'.length) };
  // Kernels 3.4 to 4.4 name the stacks of threads after the tid.
  if (/^stack:\d+$/.test(inner)) return { kind: 'stack' };
  return { kind: 'special', text: name };
}
