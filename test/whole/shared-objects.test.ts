/** Objects that several tasks or threads have a part in: made once, by the right one, and before nobody else's eyes. */
import { victimSuite } from './kit/suite.ts';

victimSuite('watched directories', [{ victim: 'watchers', ways: ['restore', 'cycles'] }]);

victimSuite('descriptors of threads', [{ victim: 'threadfds', images: [/\.pidfd\.ino$/] }]);

// The kernel shows for a lease who took it: one who has closed the file cannot do that again.
victimSuite('locks of a family', [
  { victim: 'fdflags' },
  { victim: 'familylocks', dump: ['--file-locks'], restore: ['--file-locks'], ignore: [/^process \d+ fd 5/] },
]);

// A timer that is to tell a thread that has ended tells nobody.
victimSuite('timers of threads', [
  { victim: 'threadtimers', images: [/posix\.[01]\.(it_sigev_notify|notify_thread_id)$/] },
]);

victimSuite('limits of a user', [{ victim: 'crowded' }]);

// Rings are files, made anew: they have other inode numbers.
victimSuite('asynchronous I/O of a family', [{ victim: 'aiofamily', ignore: [/^(process \d+ )?map /] }]);
