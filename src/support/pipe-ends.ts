/** Which ends of pipes and FIFOs a tree has, and what happens to a pipe whose other end is outside. */
import type { NoticeFacts } from '../base/notice.ts';
import type { OpenFile, SeenTree } from '../contract/contract.ts';
import { Slot } from '../contract/slots.ts';
import { O, POLL, S_IF } from '../kernel/constants/files.ts';
import { hangUpsAndErrors } from '../kernel/poll.ts';

/** Whether an open file with these flags can be read. */
export const canRead = (flags: number): boolean => (flags & O.ACCMODE) !== O.WRONLY;
/** Whether it can be written to. */
export const canWrite = (flags: number): boolean => (flags & O.ACCMODE) !== O.RDONLY;

/** Which ends of a pipe the tasks of a tree have. */
export interface Ends {
  reading: boolean;
  writing: boolean;
  /** A writing end has O_ASYNC set. */
  signalled: boolean;
}

/** The ends that the tasks of a tree have of the pipe behind `file`. */
export function endsInTree(file: OpenFile, tree: SeenTree): Ends {
  return ENDS.of(tree).get(inodeKey(file)) ?? { reading: false, writing: false, signalled: false };
}

/** The ends of each pipe and FIFO of a tree, by its inode. */
const ENDS = new Slot(({ tasks }: SeenTree): ReadonlyMap<string, Ends> => {
  const all = new Map<string, Ends>();
  for (const file of tasks.flatMap(({ fds }) => fds)) {
    if ((file.stat.mode & S_IF.MT) !== S_IF.IFO || file.flags & O.PATH) continue;
    const { reading = false, writing = false, signalled = false } = all.get(inodeKey(file)) ?? {};
    all.set(inodeKey(file), {
      reading: reading || canRead(file.flags),
      writing: writing || canWrite(file.flags),
      signalled: signalled || (canWrite(file.flags) && (file.flags & O.ASYNC) !== 0),
    });
  }
  return all;
});

const inodeKey = ({ stat }: OpenFile): string => `${stat.dev}:${stat.ino}`;

/**
 * Whether any process, in the tree or outside, has the other end open. If none has, poll(2) reports POLLHUP or POLLERR.
 */
export function hasPartner(file: OpenFile): boolean {
  return (hangUpsAndErrors(file.local) & (POLL.ERR | POLL.HUP)) === 0;
}

/** Whether the other end of a pipe is open, but nowhere in the tree. */
export function isHalf(file: OpenFile, tree: SeenTree): boolean {
  if (!hasPartner(file)) return false;
  const ends = endsInTree(file, tree);
  return canWrite(file.flags) ? !ends.reading : !ends.writing;
}

/**
 * The notice about a pipe whose other end is outside of the tree, for the dump and the restore. `key` is its key for
 * --inherit-fd, if that can replace it.
 */
export function halfNotice(writing: boolean, key: string | undefined): Pick<NoticeFacts, 'reason' | 'remedy'> {
  const [side, then] = writing
    ? ['reading', 'writing fails (EPIPE)']
    : ['writing', 'after what waits in it the end comes'];
  return {
    reason: `its ${side} end is held by a process outside of the tree; restored it is as if that had ended: ${then}`,
    remedy: key && `another end is given at the restore with --inherit-fd 'fd[N]:${key}'`,
  };
}
