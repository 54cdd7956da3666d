/** The flags of descriptors, which a table of descriptors holds apart from the open files. */

import type { TaskFd } from '../../base/brands.ts';
import type { OpenFile } from '../../contract/contract.ts';
import { F, FD_CLOEXEC } from '../../kernel/constants/files.ts';
import type { Program } from '../../tracee/program.ts';
import type { Remote } from '../../tracee/remote.ts';

/**
 * The flags of the descriptors of a task. The task itself is asked for what its snapshot does not tell: many at once
 * take it less time than one of them takes us by way of /proc.
 */
export class FdFlags {
  /** The flags by descriptor, complete after {@link askRest}. Descriptors without flags are not among them. */
  readonly known = new Map<TaskFd, number>();
  readonly #unseen: TaskFd[];

  constructor(fds: readonly OpenFile[]) {
    for (const { fd, cloexec } of fds) if (cloexec) this.known.set(fd, FD_CLOEXEC);
    this.#unseen = fds.filter(({ cloexec }) => cloexec === undefined).map(({ fd }) => fd);
  }

  /** Adds the calls that ask, as many as fit. Returns a function that reads the answers when the program has run. */
  ask(program: Program): () => void {
    const asked = this.#unseen.splice(0).map((fd) => {
      if (program.fits(1)) return { fd, answer: program.call('fcntl', fd, F.GETFD) };
      this.#unseen.push(fd);
      return undefined;
    });
    return () => {
      for (const question of asked) {
        const flags = question ? program.result(question.answer) : 0;
        if (question && flags !== 0) this.known.set(question.fd, flags);
      }
    };
  }

  /** Asks for what did not fit into the program of the task. */
  askRest(remote: Remote): void {
    while (this.#unseen.length > 0) remote.do((program) => this.ask(program)).built();
  }
}
