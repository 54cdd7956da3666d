/**
 * Brings the counters of a new ring to where they were. They count what was ever done, modulo 2^32, and only the kernel
 * moves its own copies of them.
 */
import { StasisError } from '../../../base/errors.ts';
import { IORING_OP, IORING_SETUP, IOSQE_CQE_SKIP_SUCCESS } from '../../../kernel/constants/uring.ts';
import { Sqe } from '../../../kernel/layouts/uring.ts';
import { MappedRing, pagesOf, setUpRing, sqeSize } from '../../../kernel/uring.ts';
import type { RingNote } from '../../../support/ring-notes.ts';
import { requireUninterrupted } from '../../../tracee/interruption.ts';

/** Has whoever may use the ring enter it `times` times, to submit `count` requests each time. */
type Enter = (count: number, times: number) => void;

/** How often a ring is entered between looks at whether the user wants to give up. */
const MOST_TIMES = 256;

/** Makes requests that do nothing, and completions, until the counters are those of the note. */
export function advance(note: RingNote, ring: MappedRing, fd: number, enter: Enter): void {
  const both = Math.min(note.sqHead, note.cqTail);
  submit(note, ring, note.sqHead - both, IOSQE_CQE_SKIP_SUCCESS, enter);
  submit(note, ring, both, 0, enter);
  post(note, ring, fd, note.cqTail - both, enter);
  if (ring.counter('sqHead') === note.sqHead && ring.counter('cqTail') === note.cqTail) return;
  const reason = `the counters of a ring of io_uring are ${ring.counter('sqHead')} and ${ring.counter('cqTail')}`;
  throw new StasisError({ kind: 'kernel', reason: `${reason}, not ${note.sqHead} and ${note.cqTail}` });
}

/** Submits `total` requests of no effect. Their completions are taken, if they have any. */
function submit(note: RingNote, ring: MappedRing, total: number, sqeFlags: number, enter: Enter): void {
  if (total === 0) return;
  for (let i = 0; i < note.sqEntries; i++) {
    ring.writeSqes(i * sqeSize(note.flags), Sqe.encode({ opcode: IORING_OP.NOP, flags: sqeFlags }));
    if (note.flags & IORING_SETUP.NO_SQARRAY) continue;
    break; // the indices of a new ring are all 0
  }
  let tail = ring.counter('sqTail');
  const lot = sqeFlags ? note.sqEntries : Math.min(note.sqEntries, note.cqEntries);
  const several = sqeFlags ? MOST_TIMES : 1;
  for (let left = total; left > 0; ) {
    requireUninterrupted();
    const times = Math.min(several, Math.floor(left / lot));
    const count = times > 0 ? lot : left;
    tail += count * Math.max(times, 1);
    // The tail may be further away than the queue is long: the kernel takes what fits at a time.
    ring.setCounter('sqTail', tail);
    enter(count, Math.max(times, 1));
    left -= count * Math.max(times, 1);
    ring.setCounter('cqHead', ring.counter('cqTail'));
  }
}

/** Has another ring of ours send it completions: there were more of them than requests (multishot requests). */
function post(note: RingNote, ring: MappedRing, fd: number, total: number, enter: Enter): void {
  if (total === 0) return;
  const { fd: helper, params } = setUpRing(64, {});
  using _ = helper;
  using own = new MappedRing(helper.number, pagesOf(params));
  const message = Sqe.encode({ opcode: IORING_OP.MSG_RING, fd });
  own.writeSqes(0, message);
  for (let left = total; left > 0; ) {
    requireUninterrupted();
    const count = Math.min(left, note.cqEntries, params.sqEntries);
    own.setCounter('sqTail', own.counter('sqTail') + count);
    own.enter(count);
    own.setCounter('cqHead', own.counter('cqTail'));
    if (note.submitter !== undefined) enter(0, 1);
    ring.setCounter('cqHead', ring.counter('cqTail'));
    left -= count;
  }
}
