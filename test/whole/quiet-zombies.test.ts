/** Ended children that were made without SIGCHLD are seen by their parent as before: by a wait with __WALL alone. */
import { expect, test } from 'bun:test';
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { Victim } from './kit/victim.ts';

const PROGRAM = `
import ctypes, os, sys, time
WALL = 0x40000000
child = ctypes.CDLL(None).syscall(56, 0, 0, 0, 0, 0)  # clone(2) without an exit signal
if child == 0:
  os._exit(3)
time.sleep(0.1)
print('READY', flush=True)
while not sys.stdin.readline():
  time.sleep(0.02)
try:
  os.waitpid(-1, os.WNOHANG)
  print('FAIL: it is seen', flush=True)
except ChildProcessError:
  got = os.waitpid(-1, os.WNOHANG | WALL)
  print('PASS' if got == (child, 3 << 8) else f'FAIL: {got}', flush=True)
`;

test('a child without SIGCHLD that has ended', async () => {
  using victim = await Victim.run(['python3', '-c', PROGRAM]);
  for (let cycle = 0; cycle < 2; cycle++) await victim.cycle();
  appendFileSync(join(victim.dir, 'ask'), '\n');
  expect(await victim.waitFor(/^(PASS|FAIL.*)$/m, 5000)).toBe('PASS');
}, 30_000);
