/** Open files beyond the plain ones: without a name, locked, made of memory. */
import { victimSuite } from './kit/suite.ts';

/** A ghost is a new inode; where its name is taken it has a similar one, as from CRIU. */
const ghosts = [/^map 10000000-/, /^fd 50$/];

victimSuite('files without a name', [
  // The kernel calls them by their inode numbers.
  { victim: 'unnamed', ignore: [/^fd [345]$/, /^map 10000000-/], images: [/^files\..*\.name$/] },
  { victim: 'opaths' },
  { victim: 'ghosts', ignore: ghosts, images: [/^files\..*\.name$/] },
  { victim: 'ghosts', args: ['nowhere'] },
  { victim: 'ghosts', args: ['linked'], dump: ['--link-remap'] },
]);

victimSuite('locks', [
  { victim: 'locks', dump: ['--file-locks'], restore: ['--file-locks'] },
  { victim: 'locks', args: ['lease'], dump: ['-l'], restore: ['-l'] },
  { victim: 'locks', args: ['breaking'], dump: ['-l'], restore: ['-l'] },
]);

victimSuite('memory that is a file', [{ victim: 'segments' }]);
