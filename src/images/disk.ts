/** The file operations an image set needs, as an interface. */

/** What an image set needs to know of a file. */
export interface DiskStatus {
  readonly regular: boolean;
  readonly size: number;
  readonly dev: number;
  readonly ino: number;
}

/**
 * A file system. Errors have a `code`, as `ENOENT`. The engine has its own implementation (kernel/disk.ts), because
 * loading node:fs takes longer than all file operations of a small dump together. Others use {@link nodeDisk}.
 */
export interface Disk {
  /** `flags` are those of open(2). */
  open(path: string, flags: number, mode: number): number;
  close(fd: number): void;
  /** Reads from the file position until `into` is full or the file ends. Returns the number of bytes read. */
  read(fd: number, into: Uint8Array): number;
  /** Writes all bytes, repeating short writes. */
  write(fd: number, bytes: Uint8Array): void;
  statusOf(fd: number): DiskStatus;
  /** The status of the file at a path; undefined if there is none. */
  status(path: string): DiskStatus | undefined;
  unlink(path: string): void;
  /** Makes a symbolic link. */
  link(target: string, path: string): void;
  namesIn(dir: string): string[];
  /** Makes a directory and its missing parents. */
  makeDirectory(dir: string): void;
  /** Makes a whole file, or adds to one. Only disks that have a better way than by a descriptor have this. */
  put?(path: string, bytes: Uint8Array, adds: boolean): void;
  /** Where the content of a file is, if not in a file of that path from its beginning on. */
  place?(path: string): FilePlace | undefined;
  /** A path by which a file can be opened, if not its own. */
  openable?(path: string): string | undefined;
}

/** Where the content of a file is: in the file of this path, from `offset` on. */
export interface FilePlace {
  readonly path: string;
  readonly offset: number;
}

/** The disk through node:fs. */
export function nodeDisk(): Disk {
  const fs = process.getBuiltinModule('node:fs');
  const told = (stat: import('node:fs').Stats): DiskStatus => {
    const { size, dev, ino } = stat;
    return { regular: stat.isFile(), size, dev, ino };
  };
  return {
    open: fs.openSync,
    close: fs.closeSync,
    read(fd, into) {
      let filled = 0;
      while (filled < into.length) {
        const count = fs.readSync(fd, into, filled, into.length - filled, null);
        if (count === 0) break;
        filled += count;
      }
      return filled;
    },
    write(fd, bytes) {
      for (let done = 0; done < bytes.length; ) done += fs.writeSync(fd, bytes, done, bytes.length - done);
    },
    statusOf: (fd) => told(fs.fstatSync(fd)),
    status(path) {
      const stat = fs.statSync(path, { throwIfNoEntry: false });
      return stat && told(stat);
    },
    unlink: fs.unlinkSync,
    link: (target, path) => fs.symlinkSync(target, path),
    namesIn: (dir) => fs.readdirSync(dir),
    makeDirectory: (dir) => void fs.mkdirSync(dir, { recursive: true }),
  };
}
