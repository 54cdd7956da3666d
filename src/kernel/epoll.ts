/** epoll(7): waits for many descriptors of ours at once. */
import type { LocalFd } from '../base/brands.ts';
import { EPOLL_CTL, O, POLL } from './constants/files.ts';
import { EpollEvent } from './layouts/files.ts';
import { arena, arenaAddress, ERRNO, Fd, SyscallError, syscall, trySyscall } from './syscall.ts';

/** Descriptors told at once. */
const AT_ONCE = 64;

export class Epoll implements Disposable {
  readonly #fd = new Fd(syscall('epoll_create1', O.CLOEXEC));

  /** From now on input of a descriptor, its end and its errors are told. */
  add(local: LocalFd): void {
    EpollEvent.encodeInto(arena, 0, { events: POLL.IN, data: BigInt(local) });
    syscall('epoll_ctl', this.#fd.number, EPOLL_CTL.ADD, local, arenaAddress);
  }

  /** No more is told of a descriptor, which is still open. */
  remove(local: LocalFd): void {
    trySyscall('epoll_ctl', this.#fd.number, EPOLL_CTL.DEL, local, 0);
  }

  /**
   * The descriptors of which there is something to tell, within so many milliseconds, -1 for any time; none also when a
   * signal has come. @throws SyscallError
   */
  wait(milliseconds: number): LocalFd[] {
    const count = trySyscall('epoll_wait', this.#fd.number, arenaAddress, AT_ONCE, milliseconds);
    if (count < 0 && count !== -ERRNO.EINTR) throw new SyscallError('epoll_wait', -count);
    const found: LocalFd[] = [];
    for (let i = 0; i < count; i++) found.push(Number(EpollEvent.decode(arena, i * EpollEvent.size).data) as LocalFd);
    return found;
  }

  [Symbol.dispose](): void {
    this.#fd[Symbol.dispose]();
  }
}
