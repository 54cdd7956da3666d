/** Open files of /proc that show the namespaces of whoever has opened them. */
import { expect, test } from 'bun:test';
import { readFileSync, readlinkSync } from 'node:fs';
import { Victim } from './kit/victim.ts';

const OWN = ['--pid', '--mount-proc', '--ipc', '--net'];

test.each([
  ['IPC and network namespaces', [], OWN],
  ['a user namespace', [], ['--map-root-user', ...OWN]],
  ['a user namespace in another one', ['nested'], OWN],
  ['IPC and network namespaces, with the /proc of the machine', [], ['--ipc', '--net']],
])(
  '%s',
  async (_, args, unshare) => {
    using victim = await Victim.start('procview', args, { unshare });
    for (let cycle = 0; cycle < 2; cycle++) {
      await victim.cycle();
      const last = victim.members().at(-1) ?? 0;
      expect(readlinkSync(`/proc/${last}/fd/8`)).toMatch(/^\/proc\//);
      if (args.length > 0) expect(readFileSync(`/proc/${last}/uid_map`, 'utf8')).toMatch(/\n +7 +5 +1\n$/);
    }
    await victim.verdict();
  },
  60_000,
);
