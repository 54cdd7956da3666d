/** Pidfds of dead processes. For each one a short-lived process is made, opened and killed. */
import type { RestoreContext } from '../../../contract/contract.ts';
import { KeyedSlot } from '../../../contract/slots.ts';
import type { PidfdEntry } from '../../../images/schema/files.ts';
import { PIDFD } from '../../../kernel/constants/files.ts';
import { syscall, trySyscall } from '../../../kernel/syscall.ts';
import { seedInside } from '../../../namespaces/pid/seed-inside.ts';

/** A descriptor for the dead process of `entry`. Pidfds that referred to one process refer to one process again. */
export function takeDead(entry: PidfdEntry, context: RestoreContext): number {
  const made = DEAD.of(context, entry.ino);
  const fd = made.get(entry.id) as number; // the context asks for each file once
  made.delete(entry.id);
  return fd;
}

/** The flags for pidfd_open(2) from those of the file. */
export function openFlags(flags: number): number {
  return flags & (PIDFD.NONBLOCK | PIDFD.THREAD);
}

/** The descriptors made for each dead process, by its inode number, that have not been handed out yet. */
const DEAD = new KeyedSlot((context: RestoreContext, ino: number) => {
  const opened = new Map<number, number>();
  context.atEnd(() => {
    for (const fd of opened.values()) trySyscall('close', fd);
  });
  // In the PID namespace of the tree: signals to one of another get EINVAL (access_pidfd_pidns()).
  using seed = seedInside(context);
  for (const { pidfd } of context.fileEntries.values()) {
    if (pidfd === undefined || pidfd.nspid > 0 || pidfd.ino !== ino) continue;
    opened.set(pidfd.id, syscall('pidfd_open', seed.tracee.pid, openFlags(pidfd.flags)));
  }
  return opened;
});
