/** A terminal with a shell on it, typed at as a user does. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { arenaAddress, arenaView, syscall } from '../../../src/kernel/syscall.ts';
import { until } from './until.ts';

const TIOCSPTLCK = 0x40045431;
const TIOCGPTN = 0x80045430;
const TIOCGPGRP = 0x540f;

export class Terminal implements Disposable {
  /** The name of the terminal: /dev/pts/N. */
  readonly path: string;
  readonly #master: number;
  readonly #shell: ChildProcess;
  #text = '';
  /** Where the search for the next thing to be seen begins. */
  #seen = 0;

  /** Opens a pseudo-terminal and runs an interactive shell on it: its session leader. */
  constructor(cwd: string) {
    this.#master = openSync('/dev/ptmx', constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);
    arenaView.setInt32(0, 0, true);
    syscall('ioctl', this.#master, TIOCSPTLCK, arenaAddress);
    syscall('ioctl', this.#master, TIOCGPTN, arenaAddress);
    this.path = `/dev/pts/${arenaView.getInt32(0, true)}`;
    const slave = openSync(this.path, constants.O_RDWR | constants.O_NOCTTY);
    // `setsid --ctty` makes the terminal at its standard input the controlling one.
    this.#shell = spawn('setsid', ['--ctty', 'bash', '--norc', '--noprofile', '-i'], {
      cwd,
      stdio: [slave, slave, slave],
      env: { PATH: process.env.PATH, PS1: '$ ', HISTFILE: '', TERM: 'dumb', LANG: 'C.UTF-8' },
    });
    closeSync(slave);
  }

  /** Types; a newline is the return key, `\x03` is control-C. */
  type(keys: string): void {
    writeSync(this.#master, keys);
  }

  /** The process group in the foreground. */
  foreground(): number {
    syscall('ioctl', this.#master, TIOCGPGRP, arenaAddress);
    return arenaView.getInt32(0, true);
  }

  /** Everything shown so far. */
  screen(): string {
    const buffer = Buffer.alloc(65536);
    for (;;) {
      try {
        const n = readSync(this.#master, buffer);
        if (n <= 0) break;
        this.#text += buffer.toString('utf8', 0, n);
      } catch {
        break; // nothing more now
      }
    }
    return this.#text;
  }

  /** Waits until something is shown that was not shown before the last call. */
  see(pattern: RegExp, limitMs = 10_000): Promise<RegExpExecArray> {
    return until(
      () => {
        const found = pattern.exec(this.screen().slice(this.#seen));
        if (!found) return undefined;
        this.#seen += found.index + found[0].length;
        return found;
      },
      limitMs,
      () => `no ${pattern} on the terminal, only ${JSON.stringify(this.screen().slice(-1500))}`,
    );
  }

  /** Waits until something is shown, or has been. */
  shows(pattern: RegExp, limitMs = 10_000): Promise<RegExpExecArray> {
    return until(
      () => pattern.exec(this.screen()) ?? undefined,
      limitMs,
      () => `no ${pattern} on the terminal, only ${JSON.stringify(this.screen().slice(-1500))}`,
    );
  }

  /** Ends the shell, and with it what runs on the terminal. */
  [Symbol.dispose](): void {
    this.#shell.kill('SIGKILL');
    closeSync(this.#master);
  }
}
