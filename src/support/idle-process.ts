/** A process of ours that does nothing. */
import { type HostPid, hostPid } from '../base/brands.ts';
import { O } from '../kernel/constants/files.ts';
import { W } from '../kernel/constants/ptrace.ts';
import { openFile } from '../kernel/files.ts';
import { trySyscall } from '../kernel/syscall.ts';
import { bury } from '../tracee/bury.ts';
import { Workers } from './workers.ts';

/** Seconds after which it ends by itself. */
const LIFE = '60';

/** It ends with Stasis, or when it is disposed of; who has it dumped may end it before. */
export class IdleProcess implements Disposable {
  readonly pid: HostPid;

  /** @throws SyscallError if there can be no further process */
  constructor() {
    using nothing = openFile('/dev/null', O.RDWR);
    using workers = new Workers('waited for');
    this.pid = hostPid(workers.startOther(['sleep', LIFE], nothing.number, [0, 1, 2], true));
  }

  [Symbol.dispose](): void {
    // The number is its own until we have waited for it.
    if (trySyscall('wait4', this.pid, 0, W.NOHANG | W.ALL, 0) === 0) bury(this.pid);
  }
}
