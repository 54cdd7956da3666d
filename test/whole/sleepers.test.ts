/** Many threads asleep at once, through a dump and a restore: each goes on with the time it had left. */
import { victimSuite } from './kit/suite.ts';

victimSuite('many sleepers', [
  { victim: 'freeze-sleepers', args: ['300'], ways: ['restore', 'running', 'again'], ignore: [/./], limitMs: 40_000 },
]);
