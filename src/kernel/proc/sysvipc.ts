/** `/proc/sysvipc/*`: the System V objects of the reader's IPC namespace (ipc/shm.c, ipc/sem.c). */
import { SHM_MODE } from '../constants/ipc.ts';
import { decimal, linesOf, malformed, words } from './common.ts';

/** The fields that all System V objects have. */
export interface SysvPermissions {
  /** 0 for IPC_PRIVATE, and for a segment marked for destruction. */
  readonly key: number;
  readonly id: number;
  /** Permission bits; of segments also {@link SHM_MODE}. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly cuid: number;
  readonly cgid: number;
}

/** A shared memory segment. */
export interface SysvSegment extends SysvPermissions {
  /** Bytes, not rounded up to pages. */
  readonly size: number;
  /** Number of mappings of the segment. */
  readonly attached: number;
  /** When it was made, or its owner or mode set, in seconds. */
  readonly changed: number;
}

/** An array of semaphores. */
export interface SysvSemaphores extends SysvPermissions {
  readonly count: number;
}

/** A message queue. */
export interface SysvQueue extends SysvPermissions {
  /** Bytes of all messages in it. */
  readonly bytes: number;
  /** How many messages are in it. */
  readonly count: number;
}

/** Parses `/proc/sysvipc/shm`. Throws `kernel` for another format. */
export function parseSysvShm(bytes: Uint8Array): SysvSegment[] {
  return rows(bytes, '/proc/sysvipc/shm', (row) => ({
    ...permissions(row),
    size: row('size'),
    attached: row('nattch'),
    changed: row('ctime'),
  }));
}

/** Parses `/proc/sysvipc/sem`. Throws `kernel` for another format. */
export function parseSysvSem(bytes: Uint8Array): SysvSemaphores[] {
  return rows(bytes, '/proc/sysvipc/sem', (row) => ({ ...permissions(row, 'semid'), count: row('nsems') }));
}

/** Parses `/proc/sysvipc/msg`. Throws `kernel` for another format. */
export function parseSysvMsg(bytes: Uint8Array): SysvQueue[] {
  return rows(bytes, '/proc/sysvipc/msg', (row) => ({
    ...permissions(row, 'msqid'),
    bytes: row('cbytes'),
    count: row('qnum'),
  }));
}

type Row = (column: string) => number;

function permissions(row: Row, id = 'shmid'): SysvPermissions {
  return {
    key: row('key') >>> 0, // printed as an int
    id: row(id),
    mode: Number.parseInt(String(row('perms')), 8), // the one octal number
    uid: row('uid'),
    gid: row('gid'),
    cuid: row('cuid'),
    cgid: row('cgid'),
  };
}

/** Parses the rows. The first line names the columns, of which newer kernels may have more. */
function rows<T>(bytes: Uint8Array, file: string, make: (row: Row) => T): T[] {
  const [head = '', ...lines] = linesOf(bytes);
  const columns = new Map(words(head).map((name, i) => [name, i]));
  return lines.map((line) => {
    const values = words(line);
    return make((column) => {
      const index = columns.get(column);
      if (index === undefined) throw malformed(file, `no column ${column}`);
      return decimal(values[index], file);
    });
  });
}
