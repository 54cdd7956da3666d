/** Writes the files below a directory as a tar archive, as GNU tar reads it: holes, hard links, extended attributes. */
import type { LocalFd } from '../../base/brands.ts';
import { encodeText } from '../../base/text.ts';
import type { IdView } from '../../contract/contract.ts';
import { AT, O, S_IF } from '../../kernel/constants/files.ts';
import { dataRanges } from '../../kernel/data-ranges.ts';
import { namesIn, tryReadLink } from '../../kernel/files.ts';
import { type FileStatus, statusOf, timesOf } from '../../kernel/statx.ts';
import { arenaPath, Fd, SyscallError, trySyscall } from '../../kernel/syscall.ts';
import { xattrsOf } from '../../kernel/xattr.ts';
import { GzipWriter } from './gzip.ts';
import { BLOCK, encodeHeader, encodePax, type PaxRecord, paxOf, type TarHeader, TarType } from './header.ts';

/** Writes the archive of all that is below the directory `root`, compressed, to the file `to`; owners as in `ids`. */
export function writeArchive(root: LocalFd, to: number, ids: IdView): void {
  const writer = new Writer(to, ids);
  writer.add(root, '.', statusOf(root));
  writer.end();
}

class Writer {
  readonly #out: GzipWriter;
  /** The first name of each file that has several, by inode. */
  readonly #names = new Map<number, string>();

  readonly #ids: IdView;

  constructor(to: number, ids: IdView) {
    this.#ids = ids;
    this.#out = new GzipWriter(to);
  }

  /** Adds a file and, if it is a directory, all below. `fd` is an O_PATH descriptor of it. */
  add(fd: LocalFd, name: string, status: FileStatus): void {
    const type = status.mode & S_IF.MT;
    const isDirectory = type === S_IF.DIR;
    if (type === S_IF.SOCK) return; // is made again with its socket
    const before = isDirectory || status.nlink < 2 ? undefined : this.#names.get(status.ino);
    if (before !== undefined) {
      this.#put({ ...this.#headerOf(status, name), type: TarType.HARD_LINK, link: before, size: 0 }, fd, []);
      return;
    }
    if (!isDirectory && status.nlink > 1) this.#names.set(status.ino, name);
    switch (type) {
      case S_IF.DIR:
        this.#put({ ...this.#headerOf(status, `${name}/`), type: TarType.DIRECTORY }, fd);
        this.#addAll(fd, name, status.dev);
        break;
      case S_IF.REG:
        this.#addFile(fd, name, status);
        break;
      case S_IF.LNK:
        this.#put({ ...this.#headerOf(status, name), type: TarType.SYMLINK, link: targetOf(fd) }, fd);
        break;
      case S_IF.IFO:
        this.#put({ ...this.#headerOf(status, name), type: TarType.FIFO }, fd);
        break;
      default: {
        const device = type === S_IF.CHR ? TarType.CHARACTER : TarType.BLOCK;
        const numbers = { major: status.rdev >>> 20, minor: status.rdev & 0xfffff };
        this.#put({ ...this.#headerOf(status, name), type: device, ...numbers }, fd);
      }
    }
  }

  /** Ends the archive. */
  end(): void {
    this.#out.write(new Uint8Array(2 * BLOCK));
    this.#out.end();
  }

  #addAll(directory: LocalFd, name: string, dev: number): void {
    for (const entry of namesIn(`/proc/self/fd/${directory}`)) {
      const opened = trySyscall('openat', directory, arenaPath(entry), O.PATH | O.NOFOLLOW | O.CLOEXEC);
      if (opened < 0) throw new SyscallError('openat', -opened, { resource: `${name}/${entry}` });
      using fd = new Fd(opened);
      const status = statusOf(fd.number);
      if (status.dev === dev) this.add(fd.number, `${name}/${entry}`, status);
    }
  }

  #addFile(fd: LocalFd, name: string, status: FileStatus): void {
    using file = openContent(fd, name);
    const header = this.#headerOf(status, name);
    const ranges = [...dataRanges(file.number, status.size)];
    const [first] = ranges;
    if (status.size === 0 || (ranges.length === 1 && first?.start === 0 && first.end === status.size)) {
      this.#put({ ...header, size: status.size }, fd);
      this.#out.copy(file.number, 0, status.size);
      this.#pad(status.size);
      return;
    }
    // Format 1.0 of GNU tar: the ranges are told in decimal lines before the data. The last one tells the end.
    const told = [...ranges, { start: status.size, end: status.size }];
    const map = encodeText(`${told.length}\n${told.map(({ start, end }) => `${start}\n${end - start}\n`).join('')}`);
    const data = ranges.reduce((sum, { start, end }) => sum + end - start, 0);
    const mapSize = Math.ceil(map.length / BLOCK) * BLOCK;
    const slash = name.lastIndexOf('/');
    const standIn = `${name.slice(0, slash)}/GNUSparseFile.0/${name.slice(slash + 1)}`;
    this.#put({ ...header, name: standIn, size: mapSize + data }, fd, [
      ['GNU.sparse.major', encodeText('1')],
      ['GNU.sparse.minor', encodeText('0')],
      ['GNU.sparse.name', encodeText(name)],
      ['GNU.sparse.realsize', encodeText(String(status.size))],
      ...xattrRecords(fd),
    ]);
    this.#out.write(map);
    this.#pad(map.length);
    for (const { start, end } of ranges) this.#out.copy(file.number, start, end - start);
    this.#pad(data);
  }

  #headerOf({ mode, uid, gid }: FileStatus, name: string): TarHeader {
    return {
      name,
      mode: mode & 0o7777,
      uid: this.#ids.uidThere(uid),
      gid: this.#ids.gidThere(gid),
      size: 0,
      mtime: 0, // set when it is written
      type: TarType.FILE,
      link: '',
      major: 0,
      minor: 0,
    };
  }

  #pad(length: number): void {
    if (length % BLOCK !== 0) this.#out.write(new Uint8Array(BLOCK - (length % BLOCK)));
  }

  #put(told: TarHeader, fd: LocalFd, more: readonly PaxRecord[] = xattrRecords(fd)): void {
    const { sec, nsec } = timesOf(fd).mtime;
    const header = { ...told, mtime: Number(sec) };
    const records = [...paxOf(header, nsec), ...more];
    if (records.length > 0) {
      const body = encodePax(records);
      const slash = header.name.lastIndexOf('/', header.name.length - 2);
      const name = `${header.name.slice(0, Math.max(slash, 0)).slice(0, 60)}/PaxHeaders/x`.replace(/^\//, './');
      this.#out.write(encodeHeader({ ...header, name, type: TarType.PAX, link: '', size: body.length }));
      this.#out.write(body);
      this.#pad(body.length);
    }
    this.#out.write(encodeHeader(header));
  }
}

function xattrRecords(fd: LocalFd): PaxRecord[] {
  return xattrsOf(`/proc/self/fd/${fd}`).map(([name, value]) => [`SCHILY.xattr.${name}`, value]);
}

function targetOf(fd: LocalFd): string {
  const target = tryReadLink('', fd);
  if (typeof target === 'string') return target;
  throw new SyscallError('readlinkat', -target);
}

/** Opens a file for reading, without changing when it was read last, and without waiting for a lease. */
function openContent(fd: LocalFd, name: string): Fd {
  const flags = O.RDONLY | O.NONBLOCK | O.CLOEXEC;
  const path = arenaPath(`/proc/self/fd/${fd}`);
  const quiet = trySyscall('openat', AT.FDCWD, path, flags | O.NOATIME);
  const opened = quiet >= 0 ? quiet : trySyscall('openat', AT.FDCWD, path, flags);
  if (opened < 0) throw new SyscallError('openat', -opened, { resource: name });
  return new Fd(opened);
}
