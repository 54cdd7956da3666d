/** Open files of /proc that show the namespaces of whoever has opened them. */
import { expect, test } from 'bun:test';
import { readFileSync, readlinkSync } from 'node:fs';
import { Victim } from './kit/victim.ts';

const USERS = ['--user', '--map-users', '0:1000:10', '--map-groups', '0:1000:10', '--setuid', '0', '--setgid', '0'];

test.each([
  ['IPC and network namespaces', [], ['--pid', '--mount-proc', '--ipc', '--net']],
  ['a user namespace', [], [...USERS, '--pid', '--mount-proc', '--ipc', '--net']],
  ['a user namespace in another one', ['nested'], [...USERS, '--pid', '--mount-proc', '--ipc', '--net']],
  ['IPC and network namespaces, with the /proc of the machine', [], ['--ipc', '--net']],
])(
  '%s',
  async (_, args, unshare) => {
    using victim = await Victim.start('procview', args, { unshare });
    for (let cycle = 0; cycle < 2; cycle++) {
      await victim.cycle();
      expect(readlinkSync(`/proc/${victim.pid}/fd/6`)).toContain('/proc/');
      if (args.length > 0) expect(readFileSync(`/proc/${victim.pid}/uid_map`, 'utf8')).toMatch(/^ +7 +1000 +1\n$/);
    }
    await victim.verdict();
  },
  60_000,
);
