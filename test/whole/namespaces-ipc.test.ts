/** IPC and UTS namespaces: what is in them, several in one tree. */
import { expect, test } from 'bun:test';
import { trySyscall } from '../../src/kernel/syscall.ts';
import { stasis } from './kit/stasis.ts';
import { victimSuite } from './kit/suite.ts';
import { Victim } from './kit/victim.ts';

/** A restored tree has a time namespace, which comes first in the numbering of namespaces. */
const NUMBERS = [/_ns_id/, /^(uts|ipc)ns-/];

victimSuite('UTS namespaces', [{ victim: 'utsns', ignore: [/ns\/uts/], images: NUMBERS }]);
victimSuite('IPC namespaces', [
  {
    victim: 'ipcns',
    ways: ['restore', 'running', 'cycles', 'again'],
    limitMs: 60_000,
    ignore: [/ns\/ipc/],
    images: NUMBERS,
  },
]);

victimSuite('POSIX message queues of the host', [{ victim: 'mqueues' }]);

test('a process that is to be told of a message is refused', async () => {
  using victim = await Victim.start('mqueues', ['NOTIFIED']);
  try {
    if (victim.skipped) return;
    const { status, stderr } = await stasis(victim.dumpLine());
    expect(status).toBe(1);
    expect(stderr).toContain('the process waits for a notification of it (mq_notify)');
    await victim.verdict();
  } finally {
    trySyscall('mq_unlink', Buffer.from(`stasis-victim-${victim.pid}\0`));
  }
}, 20_000);
