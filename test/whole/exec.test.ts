/**
 * A system call of exec that blocks, and the end of Stasis in the middle of it, whatever ends it: the victim goes on
 * where it was, and can be dumped.
 */
import { describe, expect, test } from 'bun:test';
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { arenaAddress, arenaPath, arenaView, syscall, trySyscall } from '../../src/kernel/syscall.ts';
import { helperBinary } from './kit/compile.ts';
import { allFree, free, goesOn, unharmed } from './kit/harm.ts';
import { type Outcome, stasis, stasisCommand, stasisOk } from './kit/stasis.ts';
import type { TaskState } from './kit/state.ts';
import { sleep, until } from './kit/until.ts';
import { Victim } from './kit/victim.ts';

/** fanotify (include/uapi/linux/fanotify.h). */
const FAN = { CLOEXEC: 1, CLASS_CONTENT: 4, MARK_ADD: 1, OPEN_PERM: 0x10000, ALLOW: 1 } as const;

const LIMIT = 60_000;
/** A whole run with all moments: STASIS_HARM=400 for the proof. */
const ROUNDS = Math.max(60, Number(process.env.STASIS_HARM ?? 0));
const ENDINGS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGKILL'] as const;
type Ending = (typeof ENDINGS)[number];

const execLine = (pid: number, call: readonly string[], options: readonly string[] = []): string[] => [
  'exec',
  '-p',
  String(pid),
  ...options,
  ...call,
];

/** What a call in the victim answers. */
async function answerOf(pid: number, call: readonly string[]): Promise<string> {
  return (await stasisOk(execLine(pid, call))).stdout;
}

/** Calls that block in a victim for good, with descriptors made for them in it. */
async function blockingCalls(pid: number): Promise<string[][]> {
  const fds = /buffer 1: "?(\S+?)"?$/m.exec(await answerOf(pid, ['pipe2', '@8', '0']))?.[1] ?? '';
  const [reader = -1] = new Int32Array(new Uint8Array(Buffer.from(fds.padEnd(16, '0'), 'hex')).buffer);
  expect(reader).toBeGreaterThan(2);
  const epoll = / = (\d+)/.exec(await answerOf(pid, ['epoll_create1', '0']))?.[1] ?? '';
  return [
    ['pause'],
    ['read', String(reader), '@16', '16'],
    ['futex', '@4', '0', '0', '0'],
    ['epoll_wait', epoll, '@12', '1', '-1'],
    ['select', '0', '0', '0', '0', '0'],
    ['poll', '0', '0', '60000'],
    ['rt_sigtimedwait', '@8', '0', '0', '8'],
    ['accept', '-1', '0', '0'], // fails at once: the end comes at any step
  ];
}

/** Runs a command line of Stasis, and sends it a signal after `ms` milliseconds. */
function ended(args: readonly string[], signal: Ending, ms: number): Promise<Outcome> {
  return stasis(args, {
    started: (pid) => {
      setTimeout(() => trySyscall('kill', pid, signalNumber(signal)), ms);
    },
  });
}

/** As {@link ended}, as soon as the task sleeps in the call. */
function endedInCall(pid: number, line: readonly string[], signal: Ending, state = 'S'): Promise<Outcome> {
  return stasis(line, {
    started: (stasisPid) => {
      inCall(pid, state).then(
        () => trySyscall('kill', stasisPid, signalNumber(signal)),
        () => {},
      );
    },
  });
}

function signalNumber(signal: Ending): number {
  return { SIGINT: 2, SIGTERM: 15, SIGHUP: 1, SIGKILL: 9 }[signal];
}

async function stillItself(victim: Victim, before: TaskState, note: string): Promise<void> {
  try {
    await free(victim.pid);
    await goesOn(victim);
    await unharmed(before, victim);
  } catch (error) {
    throw new Error(`${note}: ${error instanceof Error ? error.message : error}`);
  }
}

/** The system call a task sleeps in; undefined if it runs. */
function callOf(pid: number): number | undefined {
  const [nr = ''] = readFileSync(`/proc/${pid}/syscall`, 'latin1').split(' ');
  return /^\d+$/.test(nr) ? Number(nr) : undefined;
}

/** Waits until a task sleeps in a call for Stasis: all its signals are blocked then. */
function inCall(pid: number, state = 'S'): Promise<true> {
  const masked = (): boolean => /^SigBlk:\tffff/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));
  return until(
    () => (masked() && readFileSync(`/proc/${pid}/status`, 'latin1').includes(`State:\t${state}`) ? true : undefined),
    10_000,
    () => `process ${pid} is in no call of Stasis'`,
  );
}

test(
  'ended by a signal at any moment, the victim goes on and can be dumped',
  async () => {
    using victim = await Victim.start('sturdy', ['4']);
    const calls = await blockingCalls(victim.pid);
    const before = await victim.settled();
    for (let i = 0; i < ROUNDS; i++) {
      const call = calls[i % calls.length] ?? [];
      const signal = ENDINGS[Math.floor(i / calls.length) % ENDINGS.length] ?? 'SIGKILL';
      const ms = 5 + Math.random() * 90;
      const { stderr } = await ended(execLine(victim.pid, call), signal, ms);
      expect(stderr).not.toContain('    at ');
      await stillItself(victim, before, `${call.join(' ')}, ${signal} after ${ms.toFixed(1)} ms`);
      if (i % 12 === 11) await stasisOk(victim.dumpLine(['--leave-running']));
    }
    await victim.cycle();
    await victim.verdict();
  },
  LIMIT + ROUNDS * 2000,
);

describe('what is said', () => {
  test('the signal, and what has become of the task; Stasis ends by the signal', async () => {
    using victim = await Victim.start('sturdy', ['4']);
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      const { stderr, stdout, signal: by } = await endedInCall(victim.pid, execLine(victim.pid, ['pause']), signal);
      expect(stderr).toBe(`Interrupted by ${signal}: task ${victim.pid} goes on where it was\n`);
      expect(stdout).toBe('');
      expect(by).toBe(signal);
    }
    await goesOn(victim);
    await victim.verdict();
  }, 90_000);

  test('a signal that is ignored stays so', async () => {
    using victim = await Victim.start('sturdy', ['4']);
    const line = stasisCommand().join(' ');
    const script = `trap '' HUP; ${line} exec -p ${victim.pid} --timeout 1 pause & sleep 0.5; kill -HUP $!; wait $!`;
    const { stderr } = await stasis(['-c', script], { command: ['sh'] });
    expect(stderr).toContain('did not return within 1 s');
    await goesOn(victim);
  }, 90_000);

  test('--timeout ends a call, 0 does not', async () => {
    using victim = await Victim.start('sturdy', ['4']);
    const before = await victim.settled();
    const calls = await blockingCalls(victim.pid);
    const during = await victim.settled();
    // The victim may be asleep itself: then poll is refused.
    for (const call of calls.filter(([name]) => name !== 'poll' && name !== 'accept')) {
      const { status, stderr, ms } = await stasis(execLine(victim.pid, call, ['--timeout', '1']));
      expect({ call, status }).toEqual({ call, status: 1 });
      expect(stderr).toContain('did not return within 1 s and was interrupted');
      expect(ms).toBeLessThan(9000);
      await stillItself(victim, during, call.join(' '));
    }
    const { stderr, ms } = await ended(execLine(victim.pid, ['pause'], ['--timeout', '0']), 'SIGTERM', 1500);
    expect(stderr).toContain('Interrupted by SIGTERM');
    expect(ms).toBeGreaterThan(1400);
    expect(before.size).toBeLessThan(during.size);
    await victim.cycle();
    await victim.verdict();
  }, 120_000);
});

/** The call a task sleeps in, and its mask, once it does. */
async function sleepsIn(pid: number): Promise<string> {
  await until(
    () => (callOf(pid) === undefined ? undefined : true),
    5000,
    () => `process ${pid} sleeps in no call`,
  );
  return asleepIn(pid);
}

function asleepIn(pid: number): string {
  return `${callOf(pid)} ${maskOf(pid)}`;
}

function maskOf(pid: number): string {
  return /^SigBlk:.*$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[0] ?? '';
}

/** Waits until it sleeps there again: a signal before that would not end its call, but come before it. */
function sleepsAgain(pid: number, before: string): Promise<true> {
  return until(
    () => (asleepIn(pid) === before ? true : undefined),
    5000,
    () => `process ${pid} is in ${asleepIn(pid)}, was in ${before}`,
  );
}

/** Waits until the guard of a killed exec has led a task out of our code, where it blocks signals, and let it go. */
async function ledOut(pid: number, mask: string): Promise<void> {
  await until(
    () => (maskOf(pid) === mask ? true : undefined),
    5000,
    () => `process ${pid} has the mask ${maskOf(pid)}, had ${mask}`,
  );
  await free(pid);
}

describe('where the victim is', () => {
  // Those that a stop would end, and those whose end only the kernel knows.
  const forever = ['epoll-forever', 'semop-forever', 'sigwait-forever', 'sigsuspend', 'futex-forever', 'pause'];
  for (const name of forever) {
    test(`in ${name}`, async () => {
      using victim = await Victim.start('asleep', [name]);
      await sleep(50);
      const before = await sleepsIn(victim.pid);
      for (let i = 0; i < 3; i++) await stasisOk(execLine(victim.pid, ['getpid']));
      for (const signal of ENDINGS) {
        await endedInCall(victim.pid, execLine(victim.pid, ['pause']), signal);
        await sleepsAgain(victim.pid, before);
        await free(victim.pid);
      }
      await victim.verdict({ signal: 'SIGUSR1' });
    }, 90_000);
  }
  for (const name of ['nanosleep', 'clock_nanosleep-without-rest', 'poll', 'futex']) {
    test(`in ${name}, with a limit`, async () => {
      // It must sleep until all is said and done, on a busy machine too.
      using victim = await Victim.start('asleep', [name, '5000']);
      const mask = maskOf(victim.pid);
      await endedInCall(victim.pid, execLine(victim.pid, ['pause']), 'SIGKILL');
      await ledOut(victim.pid, mask);
      await endedInCall(victim.pid, execLine(victim.pid, ['select', '0', '0', '0', '0', '0']), 'SIGTERM');
      const { stderr } = await stasis(execLine(victim.pid, ['poll', '0', '0', '10']));
      expect(stderr).toContain('only the kernel knows');
      await victim.verdict();
    }, 90_000);
  }
});

test('one thread of many', async () => {
  using victim = await Victim.run([helperBinary('crowd'), '20']);
  const tids = readdirSync(`/proc/${victim.pid}/task`).map(Number);
  const turns = (): BigUint64Array =>
    new BigUint64Array(new Uint8Array(readFileSync(join(victim.cwd, 'turns'))).buffer);
  for (let i = 0; i < 24; i++) {
    const tid = tids[i % tids.length] ?? 0;
    await ended(execLine(tid, ['pause']), ENDINGS[i % 4] ?? 'SIGKILL', 20 + Math.random() * 90);
    await allFree(tids);
    const before = turns();
    await until(
      () => (turns().every((n, at) => n > (before[at] ?? 0n)) ? true : undefined),
      20_000,
      () => `not all threads go on: ${victim.output()}`,
    );
  }
  await stasisOk(victim.dumpLine(['--leave-running']));
  await victim.verdict();
}, 90_000);

/** Whether a task is stopped, and nobody's. */
function stopped(pid: number): Promise<true> {
  return until(
    () => {
      const status = readFileSync(`/proc/${pid}/status`, 'latin1');
      return /^State:\tT/m.test(status) && /^TracerPid:\t0/m.test(status) ? true : undefined;
    },
    5000,
    () => `process ${pid} is not stopped: ${readFileSync(`/proc/${pid}/status`, 'latin1')}`,
  );
}

describe('a victim that is stopped', () => {
  test('stays so, and can be dumped, whatever ends exec', async () => {
    using victim = await Victim.start('sturdy', ['4']);
    const before = await victim.settled();
    process.kill(victim.pid, 'SIGSTOP');
    await stopped(victim.pid);
    for (let i = 0; i < 12; i++) {
      await ended(execLine(victim.pid, ['pause']), ENDINGS[i % 4] ?? 'SIGKILL', 30 + Math.random() * 90);
      await stopped(victim.pid);
      if (i % 2 === 1) await stasisOk(victim.dumpLine(['--leave-running']));
      await stopped(victim.pid);
    }
    process.kill(victim.pid, 'SIGCONT');
    await stillItself(victim, before, 'continued');
    await victim.cycle();
    await victim.verdict();
  }, 120_000);

  test('can be dumped after a dump that was killed', async () => {
    using victim = await Victim.start('sturdy', ['4']);
    const before = await victim.settled();
    process.kill(victim.pid, 'SIGSTOP');
    await stopped(victim.pid);
    const inject = ['strace', '-o', '/dev/null', '-e', 'trace=process_vm_writev', '-e'];
    for (let i = 0; i < 20; i++) {
      // Killed in the middle of a program, or at any moment.
      const line = victim.dumpLine(['--leave-running']);
      if (i % 4 === 0)
        await stasis(line, { wrapper: [...inject, `inject=process_vm_writev:signal=KILL:when=${2 + i / 4}`] });
      else await ended(line, 'SIGKILL', 10 + Math.random() * 60);
      await stopped(victim.pid);
      await stasisOk(victim.dumpLine(['--leave-running']));
      await stopped(victim.pid);
    }
    process.kill(victim.pid, 'SIGCONT');
    await stillItself(victim, before, 'continued');
    await victim.cycle();
    await victim.verdict();
  }, 90_000);
});

test('its guard killed as well: the next dump leads the victim out', async () => {
  using victim = await Victim.start('sturdy', ['4']);
  const before = await victim.settled();
  for (let i = 0; i < 3; i++) {
    const [file = '', ...args] = [...stasisCommand(), ...execLine(victim.pid, ['pause'])];
    const child = spawn(file, args, { stdio: 'ignore' });
    const gone = new Promise((done) => child.on('exit', done));
    await inCall(victim.pid);
    for (const pid of childrenOf(child.pid ?? 0)) process.kill(pid, 'SIGKILL');
    child.kill('SIGKILL');
    await gone;
    await free(victim.pid);
    expect(callOf(victim.pid)).toBeDefined();
    await stasisOk(victim.dumpLine(['--leave-running']));
    await stillItself(victim, before, 'led out');
  }
  await victim.cycle();
  await victim.verdict();
}, 120_000);

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim().split(' ').filter(Boolean).map(Number);
}

test('a call that nothing interrupts: Stasis ends, and the victim goes on when the call returns', async () => {
  using victim = await Victim.start('sturdy', ['4']);
  const before = await victim.settled();
  const file = join(victim.dir, 'asked-for');
  writeFileSync(file, '');
  // Whoever opens the file waits, deaf to all signals but SIGKILL, until we say yes.
  const group = syscall('fanotify_init', FAN.CLASS_CONTENT | FAN.CLOEXEC, 0);
  syscall('fanotify_mark', group, FAN.MARK_ADD, FAN.OPEN_PERM, -100, arenaPath(file));
  try {
    for (const how of ['timeout', 'SIGTERM', 'SIGKILL'] as const) {
      const line = execLine(victim.pid, ['open', file, '0'], ['--timeout', how === 'timeout' ? '1' : '20']);
      const { stderr } = await (how === 'timeout' ? stasis(line) : endedInCall(victim.pid, line, how, 'D'));
      if (how === 'timeout') expect(stderr).toContain('it cannot be interrupted either');
      if (how === 'SIGTERM') expect(stderr).toContain('goes on where it was when the call returns');
      // struct fanotify_event_metadata: the descriptor is at 16.
      expect(syscall('read', group, arenaAddress, 4096)).toBeGreaterThan(0);
      const fd = arenaView.getInt32(16, true);
      arenaView.setInt32(0, fd, true);
      arenaView.setUint32(4, FAN.ALLOW, true);
      syscall('write', group, arenaAddress, 8);
      syscall('close', fd);
      await free(victim.pid);
      await goesOn(victim);
    }
  } finally {
    trySyscall('close', group);
  }
  // The file was opened: that is what was asked for.
  const opened = readdirSync(`/proc/${victim.pid}/fd`).length;
  expect(opened).toBeGreaterThanOrEqual([...before.keys()].filter((key) => key.startsWith('fd ')).length);
  await stasisOk(victim.dumpLine(['--leave-running']));
  await victim.verdict();
}, 120_000);
