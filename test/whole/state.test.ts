/** The state of one process, item 4 of the first issue: memory, registers, files, calls, attributes. */
import { victimSuite } from './kit/suite.ts';

victimSuite('locks of later memory', [
  // A dump may find it with some memory mapped for the moment.
  { victim: 'futurelocks', images: [/./] },
  { victim: 'futurelocks', args: ['onfault'], images: [/./] },
  { victim: 'futurelocks', args: ['none'], ways: ['restore'] },
]);

victimSuite('memory', [
  { victim: 'memory' },
  { victim: 'memory', args: ['shared'] },
  { victim: 'heap' },
  { victim: 'protkeys' },
]);

victimSuite('processor', [
  // It goes through all ways of rounding.
  { victim: 'cpu', images: [/fpregs\.(cwd|mxcsr)$/] },
  { victim: 'cpu', args: ['amx'] },
  { victim: 'vdso' },
]);

victimSuite('identity', [
  { victim: 'identity', start: { env: { ODD: 'a\nb \xff', EMPTY: '' } } },
  { victim: 'place' },
  { victim: 'place', args: ['no-root'] },
  { victim: 'attributes' },
]);

victimSuite('files', [{ victim: 'files' }]);

const timed = [
  ...[
    'nanosleep',
    'nanosleep-without-rest',
    'clock_nanosleep',
    'clock_nanosleep-realtime',
    'clock_nanosleep-without-rest',
    'clock_nanosleep-absolute',
    'poll',
    'ppoll',
    'select',
  ],
  ...['pselect', 'futex', 'futex-private', 'futex-absolute'],
];
const untimed = [
  ...['futex-forever', 'poll-forever', 'pause', 'sigsuspend', 'ppoll-forever'],
  ...['epoll-forever', 'epoll-pwait-forever', 'semop-forever', 'sigwait-forever'],
];

const ways = ['restore', 'running', 'cycles', 'again'] as const;

victimSuite('sleeping calls', [
  ...timed.map((call) => ({ victim: 'asleep', args: [call], ways })),
  ...untimed.map((call) => ({ victim: 'asleep', args: [call], signal: 'SIGUSR1' as const, ways })),
]);
