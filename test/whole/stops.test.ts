/** Stopped processes, and jobs of a terminal. */
import { victimSuite } from './kit/suite.ts';

victimSuite('stopped', [{ victim: 'stops' }]);
victimSuite('jobs', [{ victim: 'jobs' }]);
