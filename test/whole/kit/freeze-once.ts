/** Freezes a tree in a cgroup over and over, until it is killed: freeze-once PID CGROUP. */
import { hostPid } from '../../../src/base/brands.ts';
import { FrozenTree } from '../../../src/engine/dump/freeze/freeze.ts';

const [pid, freezeCgroup] = process.argv.slice(2);
for (;;) FrozenTree.freeze(hostPid(Number(pid)), { timeout: 5, freezeCgroup })[Symbol.dispose]();
