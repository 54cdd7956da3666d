/**
 * Makes files again from a tar archive: what Stasis writes, and what GNU tar does, whose sparse files have several
 * forms. Names that lead out of the directory are refused, and no symbolic link is followed.
 */
import { type LocalFd, localFd } from '../../base/brands.ts';
import { decodeText } from '../../base/text.ts';
import type { IdView } from '../../contract/contract.ts';
import { AT, O, S_IF } from '../../kernel/constants/files.ts';
import { userDev } from '../../kernel/devnum.ts';
import { tryWrite } from '../../kernel/files.ts';
import { tryOpenOnMount } from '../../kernel/mounts.ts';
import {
  arenaAddress,
  arenaPath,
  arenaView,
  ERRNO,
  Fd,
  SyscallError,
  syscall,
  trySyscall,
} from '../../kernel/syscall.ts';
import { trySetXattr } from '../../kernel/xattr.ts';
import { GzipReader } from './gzip.ts';
import { BLOCK, damaged, decodeHeader, decodePax, type TarHeader, TarType, tarNumber } from './header.ts';

/**
 * Makes the files of the compressed archive `from` below the directory `root`; owners are as `ids` has them.
 * @throws StasisError, SyscallError
 */
export function readArchive(from: LocalFd, root: LocalFd, ids: IdView): void {
  new Reader(from, root, ids).run();
}

/** A part of a file with its data. */
interface Extent {
  readonly at: number;
  readonly length: number;
}

/** An entry with what the entries before it tell of it. */
interface Entry {
  readonly header: TarHeader;
  readonly nanoseconds: number;
  readonly xattrs: readonly (readonly [string, Uint8Array])[];
  /** Of a sparse file: its whole size, and what is in the archive. */
  readonly sparse: { readonly size: number; readonly extents: readonly Extent[] } | undefined;
}

class Reader {
  readonly #in: GzipReader;
  readonly #root: LocalFd;
  /** Directories, whose times are set when they are filled. */
  readonly #directories: Entry[] = [];
  /** The directory of the last entry. */
  #above: { readonly path: string; readonly fd: Fd } | undefined;

  readonly #ids: IdView;

  constructor(from: LocalFd, root: LocalFd, ids: IdView) {
    this.#ids = ids;
    this.#in = new GzipReader(from);
    this.#root = root;
  }

  run(): void {
    try {
      for (let entry = this.#next(); entry; entry = this.#next()) this.#make(entry);
      for (const entry of this.#directories.reverse())
        this.#at(entry.header.name, (path) => adorn(path, entry, this.#ids));
    } finally {
      this.#above?.fd[Symbol.dispose]();
    }
  }

  /** The next entry that is a file; undefined at the end. */
  #next(): Entry | undefined {
    let records = new Map<string, Uint8Array>();
    let gnuName: string | undefined;
    let gnuLink: string | undefined;
    for (;;) {
      const block = this.#in.read(BLOCK);
      if (block.length === 0) return undefined;
      const header = decodeHeader(block);
      if (!header) return undefined;
      switch (header.type) {
        case TarType.PAX:
          records = decodePax(this.#body(header.size));
          break;
        case TarType.PAX_GLOBAL:
          this.#body(header.size);
          break;
        case TarType.GNU_NAME:
          gnuName = withoutNul(this.#body(header.size));
          break;
        case TarType.GNU_LINK:
          gnuLink = withoutNul(this.#body(header.size));
          break;
        default:
          return this.#entry(header, block.slice(), records, gnuName, gnuLink);
      }
    }
  }

  #entry(
    header: TarHeader,
    block: Uint8Array,
    records: ReadonlyMap<string, Uint8Array>,
    gnuName: string | undefined,
    gnuLink: string | undefined,
  ): Entry {
    const text = (key: string): string | undefined => {
      const value = records.get(key);
      return value && decodeText(value);
    };
    const number = (key: string): number | undefined => {
      const value = text(key);
      return value === undefined ? undefined : Number(value);
    };
    const [seconds, fraction = ''] = (text('mtime') ?? String(header.mtime)).split('.');
    const whole: TarHeader = {
      ...header,
      name: text('GNU.sparse.name') ?? text('path') ?? gnuName ?? header.name,
      link: text('linkpath') ?? gnuLink ?? header.link,
      size: number('size') ?? header.size,
      uid: number('uid') ?? header.uid,
      gid: number('gid') ?? header.gid,
      mtime: Number(seconds),
    };
    const prefix = 'SCHILY.xattr.';
    return {
      header: whole,
      nanoseconds: Number(fraction.padEnd(9, '0').slice(0, 9)),
      xattrs: [...records].flatMap(([key, value]) =>
        key.startsWith(prefix) ? [[key.slice(prefix.length), value.slice()] as const] : [],
      ),
      sparse: this.#sparse(whole, block, text),
    };
  }

  /** Where the data of a sparse file belongs; undefined for any other file. */
  #sparse(header: TarHeader, block: Uint8Array, text: (key: string) => string | undefined): Entry['sparse'] {
    if (header.type === TarType.GNU_SPARSE) return this.#oldSparse(block);
    const size = Number(text('GNU.sparse.realsize') ?? text('GNU.sparse.size') ?? Number.NaN);
    if (Number.isNaN(size)) return undefined;
    const map = text('GNU.sparse.map');
    if (map !== undefined) return { size, extents: pairs(map.split(',').map(Number)) };
    if (text('GNU.sparse.major') !== '1') throw damaged('a sparse file in an unknown form');
    let lines = '';
    const complete = (): boolean => lines.split('\n').length > 2 * Number(lines.split('\n')[0]) + 1;
    while (lines === '' || !lines.includes('\n') || !complete()) {
      const more = this.#in.read(BLOCK);
      if (more.length < BLOCK) throw damaged('it ends too early');
      lines += decodeText(more);
    }
    const [count = 0, ...numbers] = lines.split('\n').map(Number);
    return { size, extents: pairs(numbers.slice(0, 2 * count)) };
  }

  /** The form of GNU tar before pax: extents in the header and in blocks after it. */
  #oldSparse(header: Uint8Array): Entry['sparse'] {
    const numbers: number[] = [];
    const take = (block: Uint8Array, from: number, count: number): void => {
      for (let i = 0; i < 2 * count; i++) {
        const field = block.subarray(from + 12 * i, from + 12 * i + 12);
        if (field[0] !== 0) numbers.push(tarNumber(field));
      }
    };
    take(header, 386, 4);
    const size = tarNumber(header.subarray(483, 495));
    for (let isExtended = header[482] === 1; isExtended; ) {
      const block = this.#in.read(BLOCK).slice();
      if (block.length < BLOCK) throw damaged('it ends too early');
      take(block, 0, 21);
      isExtended = block[504] === 1;
    }
    return { size, extents: pairs(numbers) };
  }

  /** The contents of an entry that is not a file, whole. */
  #body(size: number): Uint8Array {
    if (size > 1 << 20) throw damaged('a record is absurdly long');
    const bytes = this.#in.read(size).slice();
    if (bytes.length < size) throw damaged('it ends too early');
    this.#skipPadding(size);
    return bytes;
  }

  #skipPadding(size: number): void {
    if (size % BLOCK !== 0) this.#in.read(BLOCK - (size % BLOCK));
  }

  #make(entry: Entry): void {
    const { header } = entry;
    const name = plainName(header.name);
    if (name === '') {
      this.#directories.push({ ...entry, header: { ...header, name } });
      return;
    }
    const named = { ...entry, header: { ...header, name } };
    this.#at(name, (path) => {
      const made = this.#node(path, named);
      if (made < 0) throw new SyscallError('mknodat', -made, { resource: header.name });
      if (header.type === TarType.DIRECTORY) this.#directories.push(named);
      else if (header.type !== TarType.HARD_LINK) adorn(path, named, this.#ids);
    });
  }

  /** Makes a file, in place of one that may be there. Returns 0 or -errno. */
  #node(path: string, entry: Entry): number {
    const { header } = entry;
    const make = (type: number): number => {
      const dev = userDev((header.major << 20) | header.minor);
      return again(path, () => trySyscall('mknodat', AT.FDCWD, arenaPath(path), type | 0o600, dev));
    };
    switch (header.type) {
      case TarType.DIRECTORY: {
        const made = trySyscall('mkdirat', AT.FDCWD, arenaPath(path), 0o700);
        return made === -ERRNO.EEXIST ? 0 : made;
      }
      case TarType.SYMLINK:
        return again(path, () => trySyscall('symlinkat', arenaPath(header.link, 8192), AT.FDCWD, arenaPath(path)));
      case TarType.HARD_LINK:
        return this.#link(path, plainName(header.link));
      case TarType.CHARACTER:
        return make(S_IF.CHR);
      case TarType.BLOCK:
        return make(S_IF.BLK);
      case TarType.FIFO:
        return make(S_IF.IFO);
      case TarType.FILE:
      case '7':
      case TarType.GNU_SPARSE:
        return this.#file(path, entry);
      default:
        throw damaged(`an entry of the unknown type ${header.type}`);
    }
  }

  #link(path: string, to: string): number {
    const opened = tryOpenOnMount(this.#root, to);
    if (opened < 0) return opened;
    using target = new Fd(opened);
    return again(path, () => {
      const from = arenaPath('');
      return trySyscall('linkat', target.number, from, AT.FDCWD, arenaPath(path, 8), AT.EMPTY_PATH);
    });
  }

  #file(path: string, { header, sparse }: Entry): number {
    const opened = again(path, () =>
      trySyscall('openat', AT.FDCWD, arenaPath(path), O.WRONLY | O.CREAT | O.EXCL | O.CLOEXEC, 0o600),
    );
    if (opened < 0) return opened;
    using file = new Fd(opened);
    if (sparse) syscall('ftruncate', file.number, sparse.size);
    const extents = sparse?.extents ?? [{ at: 0, length: header.size }];
    for (const { at, length } of extents) this.#pour(file.number, at, length);
    this.#skipPadding(extents.reduce((sum, { length }) => sum + length, 0));
    return 0;
  }

  #pour(file: LocalFd, at: number, length: number): void {
    syscall('lseek', file, at, 0);
    for (let done = 0; done < length; ) {
      const part = this.#in.some(length - done);
      if (part.length === 0) throw damaged('it ends too early');
      const written = tryWrite(file, part);
      if (written < 0) throw new SyscallError('write', -written, { resource: 'a file of an archive' });
      done += part.length;
    }
  }

  /** Calls `work` with a path of Stasis that leads to a name in the archive, by way of its opened directory. */
  #at(name: string, work: (path: string) => void): void {
    const slash = name.lastIndexOf('/');
    const above = slash < 0 ? '' : name.slice(0, slash);
    if (this.#above?.path !== above) {
      this.#above?.fd[Symbol.dispose]();
      this.#above = undefined;
      const opened = tryOpenOnMount(this.#root, above === '' ? '.' : above);
      if (opened < 0) throw new SyscallError('openat2', -opened, { resource: above });
      this.#above = { path: above, fd: new Fd(opened) };
    }
    work(`/proc/self/fd/${this.#above.fd.number}/${name === '' ? '.' : name.slice(slash + 1)}`);
  }
}

function pairs(numbers: readonly number[]): Extent[] {
  const extents: Extent[] = [];
  for (let i = 0; i + 1 < numbers.length; i += 2) {
    extents.push({ at: numbers[i] as number, length: numbers[i + 1] as number });
  }
  if (extents.some(({ at, length }) => !Number.isSafeInteger(at) || !(length >= 0))) throw damaged('a map is damaged');
  return extents;
}

function withoutNul(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return decodeText(end < 0 ? bytes : bytes.subarray(0, end));
}

/** A name without dots and slashes at its ends; empty for the directory itself. @throws StasisError (image) */
function plainName(name: string): string {
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw damaged(`${name} leads out of it`);
  return parts.join('/');
}

/** Makes a file; if there is one already, in place of that. */
function again(path: string, make: () => number): number {
  const made = make();
  if (made !== -ERRNO.EEXIST) return made;
  trySyscall('unlinkat', AT.FDCWD, arenaPath(path), 0);
  return make();
}

/** Sets the owner, then permissions and attributes, which a change of the owner resets, then the times. */
function adorn(path: string, { header, nanoseconds, xattrs }: Entry, ids: IdView): void {
  const at = (): number => arenaPath(path);
  syscall('fchownat', AT.FDCWD, at(), ids.uidHere(header.uid), ids.gidHere(header.gid), AT.SYMLINK_NOFOLLOW);
  if (header.type !== TarType.SYMLINK) syscall('fchmodat', AT.FDCWD, at(), header.mode & 0o7777);
  for (const [name, value] of xattrs) {
    const done = trySetXattr(path, name, value);
    if (done < 0) throw new SyscallError('lsetxattr', -done, { resource: `${header.name}, ${name}` });
  }
  const times = 8192;
  for (const offset of [0, 16]) {
    arenaView.setBigInt64(times + offset, BigInt(header.mtime), true);
    arenaView.setBigInt64(times + offset + 8, BigInt(nanoseconds), true);
  }
  const set = trySyscall('utimensat', AT.FDCWD, at(), arenaAddress + times, AT.SYMLINK_NOFOLLOW);
  if (set < 0 && set !== -ERRNO.EOPNOTSUPP) throw new SyscallError('utimensat', -set, { resource: header.name });
}

/** Opens an archive. @throws SyscallError */
export function openArchive(path: string): Fd | undefined {
  const fd = trySyscall('openat', AT.FDCWD, arenaPath(path), O.RDONLY | O.CLOEXEC | O.NONBLOCK);
  if (fd === -ERRNO.ENOENT) return undefined;
  if (fd < 0) throw new SyscallError('openat', -fd, { resource: path });
  return new Fd(localFd(fd));
}
