/**
 * The state of one process that is neither memory nor files: signals, timers, credentials, limits, scheduling, rseq.
 */
import { victimSuite } from './kit/suite.ts';

victimSuite('signals', [{ victim: 'signals' }, { victim: 'signals', args: ['plain'] }]);

victimSuite('timers', [{ victim: 'timers' }]);

const credentials = ['user', 'caps', 'locked'];
victimSuite(
  'credentials',
  credentials.map((how) => ({ victim: 'credentials', args: [how] })),
);

victimSuite('limits', [{ victim: 'limits' }]);

const policies = ['fifo', 'rr', 'rr-nice', 'idle', 'slice', 'deadline'];
victimSuite(
  'scheduling',
  policies.map((how) => ({ victim: 'scheduling', args: [how] })),
);

// It moves from CPU to CPU all the time.
victimSuite('thread words', [{ victim: 'threadwords', ignore: [/^status Cpus_allowed/, /^stat processor/] }]);
