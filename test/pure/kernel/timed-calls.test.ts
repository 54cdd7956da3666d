/** Calls with a restart block: which it was, and which timer was its own. */
import { describe, expect, test } from 'bun:test';
import { NR } from '../../../src/arch/syscall-numbers.ts';
import { parseTimerList } from '../../../src/kernel/proc/timer-list.ts';
import { callBehind, isEndless, needsTimer, timedCall } from '../../../src/kernel/timed-calls.ts';
import { latestTimer, ownTimer } from '../../../src/kinds/task/restart/timers.ts';
import { ascii } from './proc/fixtures.ts';

const STACK = 0x7ffd_5198_53b0n;
const HEAP = 0x40_5000n;
const words = (...args: bigint[]): bigint[] => [...args, ...new Array<bigint>(6 - args.length).fill(0n)];

describe('calls', () => {
  test('nanosleep and clock_nanosleep say where the rest is', () => {
    expect(timedCall(NR.nanosleep, words(HEAP, STACK))).toMatchObject({ timeout: 0, rest: STACK, repeatable: false });
    expect(timedCall(NR.clock_nanosleep, words(7n, 0n, HEAP, STACK))).toMatchObject({ timeout: 2, rest: STACK });
    expect(timedCall(NR.clock_nanosleep, words(1n, 1n, HEAP))?.repeatable).toBe(true);
  });

  test('waiting without a limit', () => {
    const minusOne = [-1n, 0xffff_ffffn, 0xffff_ffff_ffff_ffffn];
    for (const limit of minusOne) expect(isEndless(NR.epoll_wait, words(3n, STACK, 8n, limit))).toBe(true);
    for (const limit of [0n, 1n, 1000n]) expect(isEndless(NR.epoll_wait, words(3n, STACK, 8n, limit))).toBe(false);
    expect(isEndless(NR.semop, words(1n, STACK, 1n, 77n))).toBe(true);
    expect(isEndless(NR.semtimedop, words(1n, STACK, 1n))).toBe(true);
    expect(isEndless(NR.semtimedop, words(1n, STACK, 1n, HEAP))).toBe(false);
    expect(isEndless(NR.rt_sigtimedwait, words(STACK, 0n, 0n, 8n))).toBe(true);
    expect(isEndless(NR.io_uring_enter, words(3n, 0n, 1n, 1n))).toBe(true);
    // It submits something, or has a timeout.
    expect(isEndless(NR.io_uring_enter, words(3n, 1n, 1n, 1n))).toBe(false);
    expect(isEndless(NR.io_uring_enter, words(3n, 0n, 1n, 9n, STACK, 24n))).toBe(false);
    expect(isEndless(NR.read, words(0n, STACK, 8n))).toBe(false);
  });

  test('CPU clocks', () => {
    const of = (clock: bigint) => timedCall(NR.clock_nanosleep, words(clock, 0n, HEAP))?.cpuTime;
    expect([0n, 1n, 7n, 11n].map(of)).toEqual([false, false, false, false]);
    expect([2n, 0xffff_fffan, 0xffff_ffff_ffff_fffan].map(of)).toEqual([true, true, true]);
  });

  test.each([
    ['FUTEX_WAIT', 0n, HEAP, false],
    ['FUTEX_WAIT|PRIVATE', 128n, HEAP, false],
    ['FUTEX_WAIT without a limit', 128n, 0n, true],
    ['FUTEX_WAIT_BITSET|PRIVATE|CLOCK_REALTIME', 0x189n, HEAP, true],
  ])('%s', (_name, op, timeout, repeatable) => {
    expect(timedCall(NR.futex, words(HEAP, op, 3n, timeout))?.repeatable).toBe(repeatable);
  });

  test('what has no restart block', () => {
    expect(timedCall(NR.futex, words(HEAP, 6n, 0n, STACK))).toBeUndefined(); // FUTEX_LOCK_PI
    expect(timedCall(NR.ppoll, words(0n, 0n, STACK))).toBeUndefined();
    expect(timedCall(NR.pause, words())).toBeUndefined();
  });

  test('poll: only the lower half of the timeout counts', () => {
    expect(timedCall(NR.poll, words(0n, 0n, 0xffff_ffffn))?.repeatable).toBe(true);
    expect(timedCall(NR.poll, words(0n, 0n, 0xffff_ffff_0000_05dcn))?.repeatable).toBe(false);
  });

  test('the timer is looked for only where nothing else tells', () => {
    const wanted = (call: ReturnType<typeof timedCall>): boolean => call !== undefined && needsTimer(call);
    expect(wanted(timedCall(NR.nanosleep, words(HEAP)))).toBe(true);
    expect(wanted(timedCall(NR.nanosleep, words(HEAP, STACK)))).toBe(false);
    expect(wanted(timedCall(NR.clock_nanosleep, words(2n, 0n, HEAP)))).toBe(false);
    expect(wanted(timedCall(NR.poll, words(0n, 0n, 0xffff_ffffn)))).toBe(false);
  });
});

describe('what is behind restart_syscall', () => {
  test.each([
    ['poll_schedule_timeout.constprop.0', words(0n, 0n, 1500n), NR.poll],
    ['do_sys_poll', words(HEAP, 2n, 1500n), NR.poll],
    ['futex_do_wait', words(HEAP, 128n, 3n, STACK), NR.futex],
    ['futex_wait_queue_me', words(HEAP, 128n, 3n, STACK), NR.futex],
    ['do_syscall_64', words(HEAP, STACK), NR.nanosleep],
    ['hrtimer_nanosleep', words(HEAP), NR.nanosleep],
    ['do_syscall_64', words(0n, 0n, HEAP, STACK), NR.clock_nanosleep],
    ['hrtimer_nanosleep', words(7n, 0n, HEAP), NR.clock_nanosleep],
    ['do_cpu_nanosleep', words(0xffff_fffan, 0n, HEAP), NR.clock_nanosleep],
  ])('%s', (wchan, args, nr) => expect(callBehind(wchan, args)?.nr).toBe(nr));

  test('nothing is guessed', () => {
    for (const wchan of ['0', '', 'do_signal_stop']) expect(callBehind(wchan, words(HEAP, STACK))).toBeUndefined();
    expect(callBehind('do_syscall_64', words(0n, 0n, 1500n))).toBeUndefined();
  });
});

describe('timers', () => {
  const list = ascii(`Timer List Version: v0.10
HRTIMER_MAX_CLOCK_BASES: 8
now at 7051186577501 nsecs

cpu: 0
 clock 0:
  .base:       000000009cb3b9cd
  .index:      0
  .resolution: 1 nsecs
  .offset:     0 nsecs
active timers:
 #0: <00000000558e3908>, hrtimer_wakeup, S:01
 # expires at 7051187823105-7051187946561 nsecs [in 1245604 to 1369060 nsecs]
 #1: <000000009acf0222>, tick_nohz_handler, S:01
 # expires at 7051188000000-7051188000000 nsecs [in 1422499 to 1422499 nsecs]
 clock 1:
  .base:       00000000afbe0ad4
  .index:      1
  .resolution: 1 nsecs
  .offset:     1795431611930588189 nsecs
active timers:
 #0: <00000000ebfbec9b>, hrtimer_wakeup, S:01
 # expires at 1795438665224448275-1795438665224498275 nsecs [in 2107282585 to 2107332585 nsecs]
`);

  test('those that wake a task, on one clock', () => {
    const { now, deadlines } = parseTimerList(list);
    expect(now).toBe(7051186577501n);
    expect([...deadlines]).toEqual([7051187823105n, 7053293860086n]);
  });

  test('another format has none', () => {
    expect(parseTimerList(ascii('')).deadlines.size).toBe(0);
    expect(parseTimerList(list.subarray(0, 700)).now).toBe(7051186577501n);
  });

  test('the own one is where it is expected, or alone', () => {
    expect(ownTimer([88_000_000n, 1_200_100_000n], 1_200_000_000n)).toBe(1_200_100_000n);
    expect(ownTimer([88_000_000n], 1_200_000_000n)).toBeUndefined();
    expect(ownTimer([1_200_100_000n, 1_200_200_000n], 1_200_000_000n)).toBeUndefined();
    expect(ownTimer([88_000_000n], undefined)).toBe(88_000_000n);
    expect(ownTimer([], undefined)).toBeUndefined();
  });

  test('one that nobody can tell is the latest within the timeout, or the whole timeout', () => {
    expect(latestTimer([88_000_000n, 900_000_000n, 1_200_100_000n], 1_000_000_000n)).toBe(900_000_000n);
    expect(latestTimer([1_200_100_000n], 1_000_000_000n)).toBe(1_000_000_000n);
    expect(latestTimer([], 1_000_000_000n)).toBe(1_000_000_000n);
  });
});
