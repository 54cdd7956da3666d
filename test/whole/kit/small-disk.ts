/** A disk that is soon full. */
import { expect } from 'bun:test';
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

/** A directory `small` on a tmpfs of some size, as mount(8) takes it; the tmpfs goes with it. */
export class SmallDisk implements Disposable {
  readonly dir: string;

  constructor(parent: string, size = '1m') {
    this.dir = join(parent, 'small');
    mkdirSync(this.dir, { recursive: true });
    expect(spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'stasis-test', this.dir]).status).toBe(0);
  }

  [Symbol.dispose](): void {
    spawnSync('umount', ['-l', this.dir]);
  }
}
