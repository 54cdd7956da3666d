/** In a PID namespace that was made again numbers go on where they were: none that was just free is given again. */
import { expect, test } from 'bun:test';
import { appendFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stasisOk } from './kit/stasis.ts';
import { Victim } from './kit/victim.ts';

/** A shell that has used many numbers, and for each line that it reads makes one more child and tells its number. */
const SHELL = `i=0; while [ $i -lt 40 ]; do /bin/true; i=$((i+1)); done
echo READY
while :; do
  if IFS= read -r line; then sh -c 'echo CHILD $$'; else sleep 0.05; fi
done`;

/** Has the shell make a child; returns its number there. */
async function child(victim: Victim, number: number): Promise<number> {
  appendFileSync(join(victim.dir, 'ask'), 'more\n');
  await victim.waitFor(new RegExp(`^(CHILD \\d+\\n(?:.*\\n)*?){${number}}`, 'm'), 5000);
  return Number([...victim.output().matchAll(/^CHILD (\d+)$/gm)].at(-1)?.[1]);
}

const start = (unshare: readonly string[]): Promise<Victim> => Victim.run(['sh', '-c', SHELL], { unshare });

test.each([
  ['with /proc', ['--pid', '--mount-proc']],
  ['of another user namespace', ['--map-root-user', '--pid', '--mount-proc']],
])(
  'a namespace %s',
  async (_, unshare) => {
    using victim = await start(unshare);
    const before = await child(victim, 1);
    expect(before).toBeGreaterThan(40);
    let last = before;
    for (let cycle = 1; cycle <= 3; cycle++) {
      await victim.dump();
      victim.forgetPid();
      await victim.restore();
      const next = await child(victim, cycle + 1);
      // The sleep between two looks takes numbers as well.
      expect(next).toBeGreaterThan(last);
      expect(next).toBeLessThan(last + 200);
      last = next;
    }
  },
  60_000,
);

test('where the images do not tell, as those of criu: behind the highest of its processes', async () => {
  using victim = await start(['--pid', '--mount-proc']);
  await victim.dump();
  rmSync(join(victim.images, 'stasis-manifest.json'));
  const [name = ''] = readdirSync(victim.images).filter((file) => file === 'stasis-task-1.json');
  const note = JSON.parse(readFileSync(join(victim.images, name), 'utf8'));
  expect(note.lastPid).toBeGreaterThan(40);
  const { lastPid: _, ...others } = note;
  writeFileSync(join(victim.images, name), JSON.stringify(others));
  const { stdout } = await stasisOk(['crit', 'decode', '-i', join(victim.images, 'pstree.img')]);
  const highest = Math.max(...(JSON.parse(stdout).entries as { pid: number }[]).map(({ pid }) => pid));
  victim.forgetPid();
  await victim.restore();
  expect(await child(victim, 1)).toBeGreaterThan(highest);
}, 30_000);
