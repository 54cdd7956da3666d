/** Owners of open files (F_SETOWN): processes that are made later than the file is opened, or that are gone. */
import { expect, test } from 'bun:test';
import { spawn } from 'node:child_process';
import { Victim } from './kit/victim.ts';

test.each(['stays', 'ends'])(
  'owners of files; one outside of the tree %s',
  async (stranger) => {
    const other = spawn('sleep', ['60'], { stdio: 'ignore' });
    const ended = new Promise((resolve) => other.once('exit', resolve));
    try {
      using victim = await Victim.start('owners', [String(other.pid)]);
      await victim.dump();
      if (stranger === 'ends') {
        other.kill('SIGKILL');
        await ended;
      }
      const { stderr } = await victim.restore();
      const told = `the signals of an open file went to task ${other.pid}, which is not there; nobody gets them now`;
      expect(stderr.includes(told)).toBe(stranger === 'ends');
      await victim.verdict();
    } finally {
      other.kill('SIGKILL');
    }
  },
  30_000,
);
