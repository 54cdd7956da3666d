/** A terminal as a terminal emulator has it: we hold the master, a shell and its jobs run on the slave. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { TTY_IOCTL } from '../../../src/kernel/constants/tty.ts';
import { arenaAddress, arenaView, syscall } from '../../../src/kernel/syscall.ts';
import { until } from './until.ts';

export class Pty implements Disposable {
  /** The slave, as /dev/pts/3. */
  readonly path: string;
  readonly #master: number;
  readonly #shell: ChildProcess;
  #seen = '';

  /** Starts an interactive shell in a session of its own, controlled by a new terminal. */
  constructor(cwd: string) {
    const { O_RDWR, O_NOCTTY, O_NONBLOCK } = constants;
    this.#master = openSync('/dev/ptmx', O_RDWR | O_NOCTTY | O_NONBLOCK);
    this.#set('TIOCSPTLCK', 0);
    this.path = `/dev/pts/${this.#get('TIOCGPTN')}`;
    const slave = openSync(this.path, O_RDWR | O_NOCTTY);
    this.#shell = spawn('setsid', ['--ctty', 'bash', '--norc', '--noprofile', '-i'], {
      cwd,
      stdio: [slave, slave, slave],
      env: { PATH: process.env.PATH, PS1: '$ ', TERM: 'dumb', HISTFILE: '/dev/null' },
    });
    closeSync(slave);
    this.#shell.on('error', () => {});
  }

  #get(request: keyof typeof TTY_IOCTL): number {
    syscall('ioctl', this.#master, TTY_IOCTL[request], arenaAddress);
    return arenaView.getInt32(0, true);
  }

  #set(request: keyof typeof TTY_IOCTL, value: number): void {
    arenaView.setInt32(0, value, true);
    syscall('ioctl', this.#master, TTY_IOCTL[request], arenaAddress);
  }

  /** The process group in the foreground. */
  foreground(): number {
    return this.#get('TIOCGPGRP');
  }

  /** Types at the keyboard: `\n` is Return, `\x03` Ctrl-C. */
  type(text: string): void {
    writeSync(this.#master, text);
  }

  /** Everything shown so far. */
  screen(): string {
    const bytes = Buffer.alloc(65536);
    try {
      for (let n = readSync(this.#master, bytes); n > 0; n = readSync(this.#master, bytes)) {
        this.#seen += bytes.toString('utf8', 0, n);
      }
    } catch {
      // nothing more for now, or nobody left on the other side
    }
    return this.#seen;
  }

  /** Waits until something is shown. */
  async shows(pattern: RegExp, limitMs = 10_000): Promise<void> {
    await until(
      () => (pattern.test(this.screen()) ? true : undefined),
      limitMs,
      () => `no ${pattern} on ${this.path}, only ${JSON.stringify(this.screen())}`,
    );
  }

  [Symbol.dispose](): void {
    closeSync(this.#master); // everybody on the terminal gets SIGHUP
    this.#shell.kill('SIGKILL');
  }
}
