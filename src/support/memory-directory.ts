/** Directories in memory that no path leads to. */
import { StasisError } from '../base/errors.ts';
import { FSCONFIG, FSOPEN_CLOEXEC } from '../kernel/constants/mounts.ts';
import { mountFileSystem, trySetOption } from '../kernel/mounts.ts';
import { arenaPath, describeErrno, Fd, syscall, trySyscall } from '../kernel/syscall.ts';

/** A tmpfs that is mounted nowhere, so that only who has its descriptor finds it, and it vanishes with the last one. */
export class MemoryDirectory implements Disposable {
  readonly #mount: Fd;

  /** @throws StasisError without CAP_SYS_ADMIN */
  constructor() {
    const opened = trySyscall('fsopen', arenaPath('tmpfs'), FSOPEN_CLOEXEC);
    if (opened < 0) {
      const reason = `no directory in memory can be made: ${describeErrno(opened)}`;
      throw new StasisError({ kind: 'permission', reason, remedy: 'run Stasis as root (CAP_SYS_ADMIN)' });
    }
    using context = new Fd(opened);
    trySetOption(context.number, ['size', '0']); // as much as there is; without this, half of the memory
    trySetOption(context.number, ['mode', '0700']);
    syscall('fsconfig', context.number, FSCONFIG.CMD_CREATE, 0, 0, 0);
    this.#mount = mountFileSystem(context.number, 0);
  }

  /** A path of it, in this process only. */
  get path(): string {
    return `/proc/self/fd/${this.#mount.number}`;
  }

  [Symbol.dispose](): void {
    this.#mount[Symbol.dispose]();
  }
}
