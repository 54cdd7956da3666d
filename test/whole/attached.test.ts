/** What a restore does that stays: waiting for the tree, or becoming another program as its parent. */
import { expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { NR } from '../../src/arch/syscall-numbers.ts';
import { trySyscall } from '../../src/kernel/syscall.ts';
import { type Outcome, stasis } from './kit/stasis.ts';
import { until } from './kit/until.ts';
import { Victim } from './kit/victim.ts';

/** Ends by itself a while after it has begun, with exit code 3 or by a signal. */
const SCRIPTS: readonly [end: string, script: string][] = [
  ['exits with 3', 'import time; print("READY", flush=True); time.sleep(4); raise SystemExit(3)'],
  ['is killed', 'import os, time; print("READY", flush=True); time.sleep(4); os.kill(os.getpid(), 9)'],
];

test.each(SCRIPTS)(
  'attached to a tree that %s: answers 0 when it has ended, as CRIU',
  async (_end, script) => {
    // What python3 is may itself be a script that runs others first.
    using victim = await Victim.run(['python3', '-c', script]);
    await victim.dump();
    const { status, ms } = await stasis(['restore', '-D', victim.images, '-o', 'restore.log', '-v4']);
    expect(status).toBe(0);
    expect(ms).toBeGreaterThan(300);
  },
  30_000,
);

test('--exec-cmd: the command is the parent, with its signals at default, and its exit code counts', async () => {
  using victim = await Victim.run(['sleep', '1000'], { silent: true });
  await victim.dump();
  const script = `grep SigIgn /proc/$$/status; cut -d' ' -f4 /proc/${victim.pid}/stat; echo $$; kill -9 ${victim.pid}; exit 5`;
  const { status, stdout } = await stasis(['restore', '-D', victim.images, '--exec-cmd', '--', 'sh', '-c', script]);
  const [ignored, parent, self] = stdout.trim().split('\n');
  expect({ status, ignored, parent }).toEqual({ status: 5, ignored: 'SigIgn:\t0000000000000000', parent: self });
}, 30_000);

test('--exec-cmd with a program that does not exist: an error, in the log too', async () => {
  using victim = await Victim.run(['sleep', '1000'], { silent: true });
  await victim.dump();
  const args = ['restore', '-D', victim.images, '-v2', '-o', '-', '--exec-cmd', '--', '/none/such'];
  const { status, stdout, stderr } = await stasis(args);
  expect(status).toBe(1);
  expect(stderr).toMatch(/^Error: \/none\/such: execve: ENOENT/);
  expect(stdout).toMatch(/Error \(restore\.ts\): \/none\/such: execve: ENOENT/);
}, 30_000);

/** Says which signals it gets. */
const LISTENER = `
import signal, time
for name in ('INT', 'TERM', 'HUP', 'QUIT', 'USR1', 'USR2', 'WINCH', 'CONT', 'TSTP'):
    signal.signal(getattr(signal, 'SIG' + name), lambda s, f: print('got', signal.Signals(s).name, flush=True))
print('LISTENING', flush=True)
while True: time.sleep(0.05)
`;
const NUMBERS = { INT: 2, TERM: 15, HUP: 1, QUIT: 3, USR1: 10, USR2: 12, WINCH: 28, CONT: 18, TSTP: 20 } as const;

/** A listener, restored by a Stasis that stays; the command's words come before those of the restore. */
async function attached(
  victim: Victim,
  options: readonly string[],
  work: (stasisPid: number) => Promise<void>,
  wrapper: readonly string[] = [],
): Promise<Outcome> {
  let failure: unknown;
  const outcome = await stasis(['restore', '-D', victim.images, '-o', 'restore.log', ...options], {
    wrapper,
    started: (pid) => {
      const runs = (): true | undefined => (victim.alive() && isFree(victim.pid) && waits(pid) ? true : undefined);
      until(runs, 10_000, () => 'it is not restored')
        .then(() => work(pid))
        .catch((error: unknown) => {
          failure = error;
          victim.kill();
        });
    },
  });
  if (failure) throw failure;
  return outcome;
}

function isFree(pid: number): boolean {
  return /^TracerPid:\t0/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));
}

/** Whether Stasis waits for the end of the tree. */
function waits(pid: number): boolean {
  return readFileSync(`/proc/${pid}/syscall`, 'latin1').startsWith(`${NR.wait4} `);
}

test('signals are passed on to the restored root', async () => {
  using victim = await Victim.run(['python3', '-c', LISTENER], { silent: true });
  await victim.waitFor(/LISTENING/, 10_000);
  await victim.dump();
  const outcome = await attached(victim, [], async (pid) => {
    for (const name of ['INT', 'TERM', 'HUP', 'QUIT', 'USR1', 'USR2', 'WINCH'] as const) {
      trySyscall('kill', pid, NUMBERS[name]);
      await victim.waitFor(new RegExp(`got SIG${name}`), 5000);
    }
    // A job that is stopped: its shell is to see Stasis stop.
    trySyscall('kill', pid, NUMBERS.TSTP);
    await victim.waitFor(/got SIGTSTP/, 5000);
    const state = (): string => /^State:\t(.)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? '';
    await until(
      () => (state() === 'T' ? true : undefined),
      5000,
      () => `Stasis is ${state()}`,
    );
    trySyscall('kill', pid, NUMBERS.CONT);
    await victim.waitFor(/got SIGCONT/, 5000);
    victim.kill();
  });
  expect(outcome).toMatchObject({ status: 0, signal: null, stderr: '' });
}, 60_000);

test('a signal that Stasis was started to ignore is not passed on', async () => {
  using victim = await Victim.run(['python3', '-c', LISTENER], { silent: true });
  await victim.waitFor(/LISTENING/, 10_000);
  await victim.dump();
  const wrapper = ['sh', '-c', 'trap "" HUP; exec "$@"', 'sh'];
  const work = async (pid: number): Promise<void> => {
    trySyscall('kill', pid, NUMBERS.HUP);
    trySyscall('kill', pid, NUMBERS.USR1);
    await victim.waitFor(/got SIGUSR1/, 5000);
    expect(victim.output()).not.toContain('SIGHUP');
    victim.kill();
  };
  expect((await attached(victim, [], work, wrapper)).status).toBe(0);
}, 60_000);

const ENDS: readonly [how: string, code: number, end: (stasisPid: number, victim: Victim) => void][] = [
  ['by an exit code', 3, (_, victim) => trySyscall('kill', victim.pid, NUMBERS.USR1)],
  ['by a signal', 128 + 9, (_, victim) => trySyscall('kill', victim.pid, 9)],
  ['by a signal that was passed on', 128 + 15, (pid) => trySyscall('kill', pid, NUMBERS.TERM)],
];

test.each(ENDS)(
  '--exit-code of a root that ends %s is %d',
  async (_how, code, end) => {
    const script =
      'import os, signal, time\nsignal.signal(signal.SIGUSR1, lambda s, f: os._exit(3))\nprint("LISTENING", flush=True)\nwhile True: time.sleep(.05)';
    using victim = await Victim.run(['python3', '-c', script], { silent: true });
    await victim.waitFor(/LISTENING/, 10_000);
    await victim.dump();
    const outcome = await attached(victim, ['--exit-code'], async (pid) => end(pid, victim));
    expect(outcome).toMatchObject({ status: code, signal: null });
  },
  60_000,
);
