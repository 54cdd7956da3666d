/**
 * Who decides whether a tree runs at the target: a file there, which can be made once. The process that has restored
 * the tree makes it just before the tree runs; whoever asks what has become of the migration makes it, too. Who comes
 * second finds it, and knows that the other one has decided. See docs/migration.md.
 */
import { type HostPid, hostPid } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import { cstring, encodeText } from '../../base/text.ts';
import { AT, LOCK, O } from '../../kernel/constants/files.ts';
import { disk } from '../../kernel/disk.ts';
import { namesIn, openFile, tryOpen, writeAll } from '../../kernel/files.ts';
import { readProcIfAny } from '../../kernel/proc/read.ts';
import { parseStat } from '../../kernel/proc/stat.ts';
import { ERRNO, Fd, SyscallError, syscall, trySyscall } from '../../kernel/syscall.ts';

/** Where these files are: a directory of root that is empty after a boot. */
const DIRECTORY = '/run/stasis';

/** What a decision file says: nothing for a migration that was given up. */
interface Record {
  /** The root of the tree, and when it was started (ticks since boot). */
  readonly pid: number;
  readonly start: string;
  /** Whether it was let go; unknown if whoever did it was killed meanwhile. */
  readonly runs: boolean;
}

/** Milliseconds after which nobody asks any more: a source does so for half a minute. */
const FORGOTTEN = 3_600_000;

/**
 * Makes the directory of these files, so that it is there when there is no time, and removes those of migrations that
 * were broken off long ago.
 */
export function prepareDecisions(): void {
  requireDirectory();
  const { statSync, rmSync } = process.getBuiltinModule('node:fs');
  for (const name of namesIn(DIRECTORY)) {
    const path = `${DIRECTORY}/${name}`;
    const status = name.startsWith('migration-') ? statSync(path, { throwIfNoEntry: false }) : undefined;
    if (status && status.mtimeMs < Date.now() - FORGOTTEN) rmSync(path, { force: true });
  }
}

function requireDirectory(): void {
  if (!disk.status(DIRECTORY)) disk.makeDirectory(DIRECTORY);
}

/** The decision that a tree runs. Held until it does, so that who asks waits for it. */
export class Decision implements Disposable {
  readonly #file: Fd;
  readonly #path: string;
  readonly #record: Omit<Record, 'runs'>;

  /** @throws StasisError `MIGRATION_LOST` if somebody has decided that it does not */
  constructor(token: string, root: HostPid) {
    this.#path = pathOf(token);
    this.#record = { pid: root, start: String(startOf(root)) };
    const made = make(this.#path, { ...this.#record, runs: false });
    if (!made) {
      const reason = 'the source has asked meanwhile what has become of it, and goes on itself';
      throw new StasisError({ kind: 'io', code: 'MIGRATION_LOST', resource: 'the migration', reason });
    }
    this.#file = made;
  }

  /** The tree runs. */
  confirm(): void {
    trySyscall('lseek', this.#file.number, 0, 0);
    // Nobody reads it before the lock is given back, and it becomes one byte shorter: false, true.
    writeAll(this.#file.number, bytesOf({ ...this.#record, runs: true }));
    trySyscall('ftruncate', this.#file.number, bytesOf({ ...this.#record, runs: true }).length);
    trySyscall('flock', this.#file.number, LOCK.UN);
  }

  /** It does not, and nothing is left of it. */
  revoke(): void {
    trySyscall('ftruncate', this.#file.number, 0);
  }

  /** Nobody will ask any more. */
  forget(): void {
    disk.unlink(this.#path);
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }
}

/** What has become of a migration here; from now on it does not come about if it has not. @throws StasisError */
export function decisionOn(token: string): 'running' | 'given up' {
  const path = pathOf(token);
  using made = make(path, undefined);
  if (made) return 'given up';
  const opened = tryOpen(path, O.RDWR | O.CLOEXEC);
  if (opened < 0) return 'given up';
  using file = new Fd(opened);
  // Whoever makes the tree run holds the lock until it does, or has failed.
  while (trySyscall('flock', file.number, LOCK.EX) === -ERRNO.EINTR);
  const text = disk.readText(path) ?? '';
  if (text === '') return 'given up';
  const { pid, start, runs } = JSON.parse(text) as Record; // written by this program
  return runs || String(startOf(hostPid(pid))) === start ? 'running' : 'given up';
}

/** Makes the file, locked and with its content, at once; undefined if it is there. @throws SyscallError */
function make(path: string, record: Record | undefined): Fd | undefined {
  requireDirectory();
  const draft = `${path}.${process.pid}`;
  const file = openFile(draft, O.RDWR | O.CREAT | O.EXCL | O.CLOEXEC, 0o600);
  try {
    syscall('flock', file.number, LOCK.EX);
    if (record) writeAll(file.number, bytesOf(record));
    const linked = trySyscall('linkat', AT.FDCWD, cstring(draft), AT.FDCWD, cstring(path), 0);
    if (linked === 0) return file;
    file[Symbol.dispose]();
    if (linked === -ERRNO.EEXIST) return undefined;
    throw new SyscallError('linkat', -linked, { resource: path });
  } finally {
    disk.unlink(draft);
  }
}

function bytesOf(record: Record): Uint8Array {
  return encodeText(JSON.stringify(record));
}

/** When a process was started; undefined for one that is not there, or has ended. */
function startOf(pid: HostPid): bigint | number | undefined {
  const text = readProcIfAny(pid, 'stat');
  if (!text) return undefined;
  const { state, starttime } = parseStat(text);
  return state === 'Z' || state === 'X' ? undefined : starttime;
}

function pathOf(token: string): string {
  if (/^[0-9a-f]{32}$/.test(token)) return `${DIRECTORY}/migration-${token}`;
  throw new StasisError({ kind: 'io', code: 'MIGRATION_PROTOCOL', reason: 'the token of the migration is none' });
}
