/** What a restore does that stays: waiting for the tree, or becoming another program as its parent. */
import { expect, test } from 'bun:test';
import { stasis } from './kit/stasis.ts';
import { Victim } from './kit/victim.ts';

/** Ends by itself a while after it has begun, with exit code 3 or by a signal. */
const SCRIPTS: readonly [end: string, script: string][] = [
  ['exits with 3', 'import time; print("READY", flush=True); time.sleep(1.2); raise SystemExit(3)'],
  ['is killed', 'import os, time; print("READY", flush=True); time.sleep(1.2); os.kill(os.getpid(), 9)'],
];

test.each(SCRIPTS)('attached to a tree that %s: answers 0 when it has ended, as CRIU', async (_end, script) => {
  // What python3 is may itself be a script that runs others first.
  using victim = await Victim.run(['python3', '-c', script]);
  await victim.dump();
  const { status, ms } = await stasis(['restore', '-D', victim.images, '-o', 'restore.log', '-v4']);
  expect(status).toBe(0);
  expect(ms).toBeGreaterThan(300);
});

test('--exec-cmd: the command is the parent, with its signals at default, and its exit code counts', async () => {
  using victim = await Victim.run(['sleep', '1000'], { silent: true });
  await victim.dump();
  const script = `grep SigIgn /proc/$$/status; cut -d' ' -f4 /proc/${victim.pid}/stat; echo $$; kill -9 ${victim.pid}; exit 5`;
  const { status, stdout } = await stasis(['restore', '-D', victim.images, '--exec-cmd', '--', 'sh', '-c', script]);
  const [ignored, parent, self] = stdout.trim().split('\n');
  expect({ status, ignored, parent }).toEqual({ status: 5, ignored: 'SigIgn:\t0000000000000000', parent: self });
});

test('--exec-cmd with a program that does not exist: an error, in the log too', async () => {
  using victim = await Victim.run(['sleep', '1000'], { silent: true });
  await victim.dump();
  const args = ['restore', '-D', victim.images, '-v2', '-o', '-', '--exec-cmd', '--', '/none/such'];
  const { status, stdout, stderr } = await stasis(args);
  expect(status).toBe(1);
  expect(stderr).toMatch(/^Error: \/none\/such: execve: ENOENT/);
  expect(stdout).toMatch(/Error \(restore\.ts\): \/none\/such: execve: ENOENT/);
});
