/** A guard outlives a Stasis that was killed: it must not keep anything open meanwhile that Stasis had. */
import { expect, test } from 'bun:test';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { HOUSE } from './kit/house.ts';

for (const kind of ['plain', 'reaping']) {
  test(`what a killed Stasis had open is closed at once, although its guard (${kind}) goes on`, async () => {
    const script = join(HOUSE, 'test/whole/kit/with-guard.ts');
    const child = spawn(process.execPath, [script, kind, String(process.pid)], {
      stdio: ['ignore', 'pipe', 'inherit', 'pipe'],
    });
    const [ready] = await once(child.stdout as Readable, 'data');
    expect(String(ready)).toBe('ready');
    const held = child.stdio[3] as Readable;
    let isClosed = false;
    held.on('end', () => {
      isClosed = true;
    });
    held.resume();
    child.kill('SIGKILL');
    await once(child, 'exit');
    await Bun.sleep(500);
    expect(isClosed).toBe(true);
  }, 20_000);
}
