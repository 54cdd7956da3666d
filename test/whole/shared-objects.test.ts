/** Objects that several tasks or threads have a part in: made once, by the right one, and before nobody else's eyes. */
import { victimSuite } from './kit/suite.ts';

victimSuite('watched directories', [{ victim: 'watchers', ways: ['restore', 'cycles'] }]);

victimSuite('descriptors of threads', [{ victim: 'threadfds', images: [/\.pidfd\.ino$/] }]);
