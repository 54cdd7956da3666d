/** What restricts a process: seccomp, strict or by filters, of all its threads and its children. */
import { victimSuite } from './kit/suite.ts';

const modes = ['user', 'forbidding', 'differ', 'some', 'synced', 'children'];
victimSuite(
  'seccomp',
  modes.map((how) => ({ victim: 'seccomp', args: [how] })),
);
