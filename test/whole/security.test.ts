/** Who a process is and what restricts it: users and capabilities, seccomp; of all its threads and its children. */
import { victimSuite } from './kit/suite.ts';

const modes = ['user', 'forbidding', 'differ', 'some', 'synced', 'children'];
victimSuite(
  'seccomp',
  modes.map((how) => ({ victim: 'seccomp', args: [how] })),
);

victimSuite('users of a tree', [{ victim: 'users' }]);
