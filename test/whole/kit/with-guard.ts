/**
 * Has guards stand by, and waits to be killed: to be run as a process of its own.
 *
 *     bun with-guard.ts plain|reaping PID
 *
 * The guard has nothing to do but to wait for ten seconds (`plain`), or would have process PID reap a copy, of which
 * there is none. Says "ready".
 */

import { writeSync } from 'node:fs';
import { hostPid } from '../../../src/base/brands.ts';
import { readProc } from '../../../src/kernel/proc/read.ts';
import { parseSmaps } from '../../../src/kernel/proc/smaps.ts';
import { LastReap } from '../../../src/memory/live/last-reap.ts';
import { Guard } from '../../../src/tracee/guard.ts';

const [kind, pid] = process.argv.slice(2);
const maker = hostPid(Number(pid));
if (kind === 'plain') new Guard((plan) => plan.call('poll', 0, 0, 10_000));
else if (!LastReap.prepare(maker, parseSmaps(readProc(maker, 'smaps')), 0, false)) throw new Error('no guard');
writeSync(1, 'ready');
setInterval(() => {}, 1000);
