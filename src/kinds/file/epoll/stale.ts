/**
 * Watches whose recorded number is not the current descriptor of the watched file. An epoll instance records a file and
 * the number under which it was added, and keeps both when that number is closed or reused while the file is open
 * elsewhere (`struct epoll_filefd` in fs/eventpoll.c). So one file can be watched more than once, and EPOLL_CTL_MOD and
 * DEL use that pair. Such a watch is added again under its old number, which refers to the file for that moment.
 */

import type { DumpContext, RestoreContext, RestoreTask } from '../../../contract/contract.ts';
import { list, tuple, whole } from '../../../images/form.ts';
import { EPOLL_CTL, F, FD_CLOEXEC, O } from '../../../kernel/constants/files.ts';
import { EpollEvent } from '../../../kernel/layouts/files.ts';
import { notedFile, noteFile } from '../../../support/file-notes.ts';
import type { Ref } from '../../../tracee/program.ts';

const NOTE = 'epoll-added-as';

/** A watch in an image. */
interface SavedWatch {
  readonly tfd: number;
  readonly events: number;
  readonly data: bigint;
}

/** A watch to be added. */
export interface Watch {
  /** The task's descriptor for the file. */
  readonly fd: number;
  readonly event: { readonly events: number; readonly data: bigint };
  /** The number under which it is added: the descriptor's own, a certain other one, or any unused one. */
  readonly number: 'own' | 'any' | number;
}

/** Records the numbers under which targets were added; undefined for targets that still have that number. */
export function noteAddedAs(context: DumpContext, id: number, numbers: readonly (number | undefined)[]): void {
  const others = numbers.flatMap((number, i) => (number === undefined ? [] : [[i, number]]));
  if (others.length > 0) noteFile(context, NOTE, id, others);
}

/** What {@link noteAddedAs} recorded: numbers by the index of the target. @throws ImageError */
export function addedAs(context: RestoreContext, id: number): ReadonlyMap<number, number> {
  return new Map(notedFile(context, NOTE, id, pairs) ?? []);
}

const pairs = list(tuple(whole, whole));

/** Decides under which number each target is added. CRIU's images do not record that, and can have a number twice. */
export function planWatches(targets: readonly SavedWatch[], numbers: ReadonlyMap<number, number>): Watch[] {
  const own = new Set<number>();
  return targets.map(({ tfd, events, data }, i) => {
    const noted = numbers.get(i);
    const number = noted ?? (own.has(tfd) ? 'any' : 'own');
    if (number === 'own') own.add(tfd);
    return { fd: tfd, event: { events, data }, number };
  });
}

/**
 * Adds watches under numbers that are not those of their files. A descriptor that has such a number is put back
 * afterwards.
 */
export function addUnderOtherNumbers(epoll: number, watches: readonly Watch[], task: RestoreTask): void {
  for (const { fd, event, number } of watches) {
    if (typeof number === 'number') addAs(number, epoll, fd, event, task);
  }
  const free = watches.filter(({ number }) => number === 'any');
  if (free.length === 0) return;
  const program = task.batch.reserve(free.length * 3, free.length * EpollEvent.size);
  // The duplicates are closed after all have been added, since a closed number would be assigned again.
  const numbers = free.map(({ fd, event }): Ref => {
    const number = program.call('fcntl', fd, F.DUPFD_CLOEXEC, 0);
    program.call('epoll_ctl', epoll, EPOLL_CTL.ADD, number, program.data(EpollEvent.encode(event)));
    return number;
  });
  for (const number of numbers) program.call('close', number);
}

function addAs(number: number, epoll: number, fd: number, event: Watch['event'], task: RestoreTask): void {
  const program = task.batch.reserve(5, EpollEvent.size);
  const owner = task.fds.find((entry) => entry.fd === number);
  const isTaken = owner !== undefined || number === task.seed.socketTarget;
  const kept = isTaken ? program.call('fcntl', number, F.DUPFD_CLOEXEC, 0) : undefined;
  program.call('dup3', fd, number, O.CLOEXEC);
  // The number may be that of the instance itself.
  const instance = kept && number === epoll ? kept : epoll;
  program.call('epoll_ctl', instance, EPOLL_CTL.ADD, number, program.data(EpollEvent.encode(event)));
  if (kept) {
    program.call('dup3', kept, number, owner && (owner.flags & FD_CLOEXEC) === 0 ? 0 : O.CLOEXEC);
    program.call('close', kept);
  } else program.call('close', number);
}
