/** Directories that a client names by the numbers of its own descriptors. */
import { StasisError } from '../base/errors.ts';
import { O } from '../kernel/constants/files.ts';
import { tryOpen, tryReadLink } from '../kernel/files.ts';
import { followedStatus, statusOf } from '../kernel/statx.ts';
import { describeErrno, Fd } from '../kernel/syscall.ts';

/**
 * The path of a directory that a client has open: its name, if that leads there from where we are, else one by a
 * descriptor of ours, which is then kept open for as long as Stasis runs.
 *
 * @throws StasisError (usage) if it has none under that number
 */
export function directoryOf(client: number, fd: number, field: string): string {
  const resource = `criu_opts.${field}`;
  if (client <= 0) {
    const remedy = 'name the directory by its path (images_dir)';
    throw new StasisError({ kind: 'usage', resource, reason: 'the client is in a PID namespace of its own', remedy });
  }
  const opened = tryOpen(`/proc/${client}/fd/${fd}`, O.PATH | O.DIRECTORY);
  if (opened < 0) {
    const reason = `descriptor ${fd} of the client, process ${client}, cannot be opened: ${describeErrno(opened)}`;
    const remedy = 'open the directory before the request, and leave it open until the answer';
    throw new StasisError({ kind: 'usage', resource, reason, remedy });
  }
  using directory = new Fd(opened);
  const byDescriptor = `/proc/${process.pid}/fd/${directory.number}`;
  const name = tryReadLink(byDescriptor);
  const there = statusOf(directory.number);
  const named = typeof name === 'string' ? followedStatus(name) : undefined;
  if (typeof name === 'string' && named?.ino === there.ino && named.dev === there.dev) return name;
  directory.release();
  return byDescriptor;
}
