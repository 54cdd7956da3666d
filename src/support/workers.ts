/** Processes of the service: one for each client, so that nothing of one client is there for another. */
import type { LocalFd } from '../base/brands.ts';
import { cstring } from '../base/text.ts';
import { F } from '../kernel/constants/files.ts';
import { PR } from '../kernel/constants/prctl.ts';
import { SA, SIG, SIG_HANDLER, SIG_HOW, SIGSET_SIZE } from '../kernel/constants/signals.ts';
import { CLONE } from '../kernel/constants/tasks.ts';
import { Sigaction } from '../kernel/layouts/signals.ts';
import { latin1 } from '../kernel/proc/common.ts';
import { readProc } from '../kernel/proc/read.ts';
import { syscall } from '../kernel/syscall.ts';
import { ChildProgram } from '../tracee/child-program.ts';
import type { Program } from '../tracee/program.ts';

/** Starts Stasis anew with a descriptor of ours. The runtime is asked for nothing: it would keep something of each. */
export class Workers implements Disposable {
  readonly #child = new ChildProgram();
  readonly #runtime = runtimeWords();

  /** `waited for`: somebody asks how they have ended. */
  constructor(fate: 'forgotten' | 'waited for' = 'forgotten') {
    if (fate === 'waited for') return;
    // The kernel buries our children by itself. Another program that is executed has the default again.
    const action = new Uint8Array(Sigaction.size);
    Sigaction.encodeInto(action, 0, { handler: SIG_HANDLER.DFL, flags: SA.NOCLDWAIT, restorer: 0n, mask: 0n });
    syscall('rt_sigaction', SIG.CHLD, action, 0, SIGSET_SIZE);
  }

  /**
   * Starts Stasis with arguments and descriptors, in a session of its own. Returns its PID; it may have ended already.
   *
   * @throws SyscallError if there can be no further process
   */
  start(args: readonly string[], ...descriptors: readonly LocalFd[]): number {
    const program = this.#child.program();
    program.attempt('unshare', Number(CLONE.FILES));
    for (const descriptor of descriptors) program.attempt('fcntl', descriptor as number, F.SETFD, 0);
    program.attempt('rt_sigprocmask', SIG_HOW.SETMASK, program.data(new Uint8Array(SIGSET_SIZE)), 0, SIGSET_SIZE);
    const environment = Object.entries(process.env).map(([name, value]) => `${name}=${value ?? ''}`);
    program.attempt(
      'execve',
      program.data(cstring('/proc/self/exe')),
      pointers(program, [...this.#runtime, ...args]),
      pointers(program, environment),
    );
    // Until it has executed its program it shares our memory, and we wait.
    return this.#child.start(program, CLONE.VFORK);
  }

  /**
   * Starts another program, in a session of its own, with a descriptor of ours as its standard input and output, or
   * under the numbers given.
   * Returns its PID; it ends with 127 if there is no such program.
   *
   * @param words its name, which is looked for in PATH, and its arguments
   * @param endsWithUs whether the kernel kills it when we end
   */
  startOther(
    words: readonly string[],
    descriptor: LocalFd,
    standards: readonly number[] = [0, 1],
    endsWithUs = false,
  ): number {
    const [name = ''] = words;
    const program = this.#child.program();
    if (endsWithUs) program.attempt('prctl', PR.SET_PDEATHSIG, SIG.KILL);
    program.attempt('unshare', Number(CLONE.FILES));
    for (const standard of standards) program.attempt('dup3', descriptor as number, standard, 0);
    program.attempt('rt_sigprocmask', SIG_HOW.SETMASK, program.data(new Uint8Array(SIGSET_SIZE)), 0, SIGSET_SIZE);
    const environment = pointers(
      program,
      Object.entries(process.env).map(([key, value]) => `${key}=${value ?? ''}`),
    );
    const given = pointers(program, words);
    const dirs = name.includes('/') ? [''] : (process.env.PATH ?? '/usr/bin:/bin').split(':').map((dir) => `${dir}/`);
    for (const dir of dirs) program.attempt('execve', program.data(cstring(`${dir}${name}`)), given, environment);
    program.attempt('exit_group', 127);
    return this.#child.start(program, CLONE.VFORK);
  }

  [Symbol.dispose](): void {
    this.#child[Symbol.dispose]();
  }
}

/** The words of our own command line before the arguments of Stasis: its name, or the runtime and the script. */
function runtimeWords(): string[] {
  const words = latin1(readProc('self', 'cmdline')).split('\0').slice(0, -1);
  return words.slice(0, words.length - (process.argv.length - 2));
}

/** A list of strings as execve(2) takes it, on the heap of a program. */
function pointers(program: Program, strings: readonly string[]): number {
  const addresses = strings.map((text) => BigInt(program.data(cstring(text))));
  return program.data(new Uint8Array(new BigUint64Array([...addresses, 0n]).buffer));
}
