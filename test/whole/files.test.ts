/** Open files beyond the plain ones: without a name, locked, made of memory. */
import { victimSuite } from './kit/suite.ts';

/** Inodes of ghosts and segments are new ones. */
victimSuite('files without a name', [
  { victim: 'ghosts' },
  { victim: 'ghosts', args: ['nowhere'] },
  { victim: 'ghosts', args: ['linked'], dump: ['--link-remap'] },
]);

victimSuite('locks', [
  { victim: 'locks', dump: ['--file-locks'], restore: ['--file-locks'] },
  { victim: 'locks', args: ['lease'], dump: ['-l'], restore: ['-l'] },
  { victim: 'locks', args: ['breaking'], dump: ['-l'], restore: ['-l'] },
]);

victimSuite('memory that is a file', [{ victim: 'segments' }]);
