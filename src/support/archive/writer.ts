/**
 * Writes an image set as an archive, from its beginning to its end: page contents as they are drained, then all other
 * files, the manifest and the inventory last.
 */
import { holdsContents } from '../../images/contents.ts';
import type { Disk, DiskStatus } from '../../images/disk.ts';
import { PARENT } from '../../images/image-set-writer.ts';
import { MANIFEST } from '../../images/manifest.ts';
import { AT, O } from '../../kernel/constants/files.ts';
import { disk } from '../../kernel/disk.ts';
import { PinnedBuffer } from '../../kernel/ffi.ts';
import { memoryFile, tryUnnamed } from '../../kernel/files.ts';
import { arenaPath, ERRNO, Fd, SyscallError, syscall, trySyscall } from '../../kernel/syscall.ts';
import { endBlocks, type Member, memberHead, type NewMember, padding } from './members.ts';
import { type ArchivePlace, type ArchiveTarget, openTarget } from './target.ts';

/** In bytes: for files that somebody has written through a descriptor. */
const COPY_SIZE = 1 << 18;

/** A file of the set until it is written: bytes of ours, or a file without a name. */
type Content = Uint8Array[] | Fd;

/** Written last, in this order. */
const LAST = [MANIFEST, 'inventory.img'];

export class ArchiveWriter implements Disposable {
  readonly target: ArchiveTarget;
  /** The disk of the image set that the archive is to hold. */
  readonly disk: Disk;
  readonly #spool: string | undefined;
  readonly #files = new Map<string, Content>();
  readonly #written = new Map<string, Member>();
  readonly #mtime = Math.floor(Date.now() / 1000);
  #parent: string | undefined;
  #at = 0;
  #isComplete = false;

  /**
   * @param spool a directory for files whose size is not known before they are written; without it, memory
   * @param key what the archive is encrypted with
   */
  constructor(place: ArchivePlace, spool: string | undefined, key: Uint8Array | undefined) {
    this.target = openTarget(place, key);
    const path = this.target.file && this.target.name;
    const beside = path === undefined ? undefined : path.slice(0, path.lastIndexOf('/') + 1) || '.';
    // Nothing that is to be encrypted is on a disk in the clear.
    this.#spool = key ? undefined : (spool ?? beside);
    this.disk = this.#makeDisk();
  }

  /** Forgets everything. @throws StasisError if that is not possible any more */
  restart(): void {
    this.target.restart();
    for (const content of this.#files.values()) close(content);
    this.#files.clear();
    this.#written.clear();
    this.#parent = undefined;
    this.#at = 0;
  }

  /** Begins a file of page contents; answers where in the archive they are to be put. */
  beginPages(name: string, size: number): number {
    this.#head({ name, size, mode: 0o600, mtime: this.#mtime }, true);
    const offset = this.#at;
    this.#written.set(name, { offset, size });
    this.#at += size;
    return offset;
  }

  /** Writes the files of the set that are there and not written yet. @throws StasisError (io) */
  write(): void {
    if (this.#parent !== undefined) {
      this.#head({ name: PARENT, size: 0, mode: 0o777, mtime: this.#mtime, link: this.#parent }, false);
      this.#parent = undefined;
    }
    const names = [...this.#files.keys()].filter((name) => !LAST.includes(name));
    for (const name of [...names, ...LAST]) {
      const content = this.#files.get(name);
      if (!content) continue;
      this.#writeFile(name, content);
      close(content);
      this.#files.delete(name);
    }
    this.target.sync();
  }

  /** Ends the archive, once: from then on it can be read. @throws StasisError (io) */
  complete(): void {
    if (this.#isComplete) return;
    this.write();
    this.#add(endBlocks());
    this.target.complete();
    this.#isComplete = true;
  }

  #writeFile(name: string, content: Content): void {
    const mode = holdsContents(name) ? 0o600 : 0o644;
    const size = sizeOf(content);
    this.#head({ name, size, mode, mtime: this.#mtime }, false);
    this.#written.set(name, { offset: this.#at, size });
    if (content instanceof Fd) this.#copy(content, size);
    else for (const bytes of content) this.#add(bytes);
    this.#add(padding(size));
  }

  #copy(from: Fd, size: number): void {
    using buffer = new PinnedBuffer(new Uint8Array(COPY_SIZE));
    for (let done = 0; done < size; ) {
      const got = trySyscall('pread64', from.number, buffer.address, Math.min(COPY_SIZE, size - done), done);
      if (got === -ERRNO.EINTR) continue;
      if (got <= 0) throw new SyscallError('pread64', got === 0 ? ERRNO.EIO : -got);
      this.target.put(this.#at, buffer.view.subarray(0, got));
      this.#at += got;
      done += got;
    }
  }

  #head(member: NewMember, aligned: boolean): void {
    this.#add(memberHead(member, this.#at, aligned));
  }

  #add(bytes: Uint8Array): void {
    if (bytes.length > 0) this.target.put(this.#at, bytes);
    this.#at += bytes.length;
  }

  /** What an image set does with its folder is done to the files of the archive that are not written yet. */
  #makeDisk(): Disk {
    const files = this.#files;
    const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
    return {
      ...disk,
      open: (path, flags) => {
        const name = nameOf(path);
        if (flags & O.CREAT) files.set(name, this.#newFile());
        const content = files.get(name);
        if (!content) throw new SyscallError('openat', ERRNO.ENOENT, { resource: name });
        return content instanceof Fd ? again(content, flags & O.CREAT ? O.RDWR : O.RDONLY) : ofBytes(content);
      },
      put: (path, bytes, adds) => {
        const name = nameOf(path);
        const before = files.get(name);
        if (adds && before && !(before instanceof Fd)) before.push(bytes);
        else files.set(name, [bytes]);
      },
      status: (path) => this.#statusOf(nameOf(path)),
      unlink: (path) => {
        const content = files.get(nameOf(path));
        if (content) close(content);
        files.delete(nameOf(path));
      },
      link: (target) => {
        this.#parent = target;
      },
      namesIn: () => [],
      makeDirectory: () => undefined,
    };
  }

  #statusOf(name: string): DiskStatus | undefined {
    const content = this.#files.get(name);
    const size = content ? sizeOf(content) : this.#written.get(name)?.size;
    return size === undefined ? undefined : { regular: true, size, dev: 0, ino: 0 };
  }

  /** A file without a name. */
  #newFile(): Fd {
    if (this.#spool !== undefined) {
      const fd = tryUnnamed(this.#spool, O.RDWR);
      if (fd >= 0) return new Fd(fd);
    }
    return memoryFile('stasis-archive');
  }

  [Symbol.dispose](): void {
    for (const content of this.#files.values()) close(content);
    this.target[Symbol.dispose]();
  }
}

/** The same file opened once more, at its beginning; to be closed by the caller. */
function again(file: Fd, flags: number): number {
  return syscall('openat', AT.FDCWD, arenaPath(`/proc/self/fd/${file.number}`), flags | O.CLOEXEC);
}

function ofBytes(content: readonly Uint8Array[]): number {
  using file = memoryFile('stasis-archive');
  for (const bytes of content) disk.write(file.number, bytes);
  return again(file, O.RDONLY);
}

function sizeOf(content: Content): number {
  if (content instanceof Fd) return disk.statusOf(content.number).size;
  return content.reduce((sum, bytes) => sum + bytes.length, 0);
}

function close(content: Content): void {
  if (content instanceof Fd) content[Symbol.dispose]();
}
