/** IPC and UTS namespaces: what is in them, several in one tree. */
import { victimSuite } from './kit/suite.ts';

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
