/** Trees in several namespaces of their own at once, as in a container; and the promises for them. */
import { describe, expect, test } from 'bun:test';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { allFree, allGoOn, duration, HARM, moments, nothingLeft, stasisKilled, strays } from './kit/harm.ts';
import { stasisOk } from './kit/stasis.ts';
import { goOn, Victim } from './kit/victim.ts';

const APART = { unshare: ['--pid', '--mount-proc', '--uts', '--ipc', '--net', '--cgroup'], limitMs: 20_000 } as const;
const KILLS = Math.ceil(HARM / 4);
const LONG = 90_000 + KILLS * 6000;

const VICTIMS: readonly (readonly string[])[] = [
  ['tree', 'random', '30', '2', '3'],
  ['sessions'],
  ['zombies', 'codes'],
  ['sharing', 'files', 'fs'],
  ['events'],
  ['timers'],
  ['epolls'],
  ['scheduling'],
  ['heap'],
  ['procfiles'],
];

describe('in namespaces of their own', () => {
  for (const [name = '', ...args] of VICTIMS) {
    test(`${[name, ...args].join(' ')}: cycles`, async () => {
      using victim = await Victim.start(name, args, APART);
      await goOn();
      for (let cycle = 0; cycle < 3; cycle++) {
        await victim.cycle();
        await goOn();
      }
      await victim.verdict({ limitMs: 20_000 });
    }, 60_000);
  }
});

const tree = (): Promise<Victim> => Victim.start('tree', ['random', '20', '5', '2'], APART);
/** What a restore could leave on the machine: mounts, and network devices. */
const leftovers = (): readonly string[] => [
  ...readFileSync('/proc/self/mountinfo', 'utf8')
    .replace(/^.* \/run\/netns.*\n/gm, '')
    .split('\n'),
  ...readdirSync('/sys/class/net'),
];

describe('SIGKILL to Stasis, and the tree is in namespaces of its own', () => {
  test(
    'at any moment of a dump',
    async () => {
      using victim = await tree();
      const span = await duration(() => stasisOk(victim.dumpLine(['--leave-running'])));
      for (const moment of moments(KILLS, span * 1.25)) {
        await stasisKilled(victim.dumpLine(['--leave-running']), moment);
        await allFree([...victim.members(), ...victim.threads()]);
        await allGoOn(victim);
      }
      await victim.verdict({ limitMs: 20_000 });
    },
    LONG,
  );

  test(
    'at any moment of a restore: all of it or nothing',
    async () => {
      using victim = await tree();
      await victim.dump();
      // Devices of namespaces that other tests have left may go meanwhile.
      const before = new Set(leftovers());
      const pidfile = join(victim.images, 'pid');
      const line = victim.restoreLine();
      const span = (await victim.restore()).ms;
      let restored = 0;
      for (const moment of moments(KILLS, span * 1.25)) {
        victim.kill();
        await nothingLeft(victim);
        victim.forgetPid();
        await stasisKilled(line, moment);
        await Bun.sleep(50);
        if (existsSync(pidfile)) victim.pid = Number(readFileSync(pidfile, 'utf8'));
        if (victim.alive()) {
          restored++;
          await allFree([...victim.members(), ...victim.threads()]);
          await allGoOn(victim);
        } else {
          await nothingLeft(victim);
          expect(strays(victim)).toEqual([]);
        }
        expect(leftovers().filter((left) => !before.has(left))).toEqual([]);
      }
      victim.kill();
      await nothingLeft(victim);
      // The last one may have been killed after it had written its pidfile.
      victim.forgetPid();
      await victim.restore();
      await allGoOn(victim);
      console.log(`restored although Stasis was killed: ${restored} of ${KILLS}`);
    },
    LONG,
  );
});
