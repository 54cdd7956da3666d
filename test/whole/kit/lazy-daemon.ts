/** A lazy-pages daemon of the built program, in the foreground. */
import { expect } from 'bun:test';
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { stasisCommand } from './stasis.ts';

export class LazyDaemon implements Disposable {
  readonly #child: ChildProcess;
  readonly #dir: string;
  readonly #ended: Promise<number | null>;
  #stderr = '';

  private constructor(dir: string, options: readonly string[]) {
    this.#dir = dir;
    const [file = '', ...args] = stasisCommand();
    const line = [...args, 'lazy-pages', '-D', dir, '-o', 'lazy-pages.log', '-v4', '--status-fd', '3', ...options];
    this.#child = spawn(file, line, { stdio: ['ignore', 'ignore', 'pipe', 'pipe'] });
    this.#child.stderr?.on('data', (bytes: Buffer) => (this.#stderr += bytes.toString()));
    // Its end is told when all that it has written has been read.
    this.#ended = new Promise((resolve) => this.#child.on('close', resolve));
  }

  /** Starts one, and waits until it says by its status descriptor that it is ready. */
  static async start(dir: string, options: readonly string[] = []): Promise<LazyDaemon> {
    const daemon = new LazyDaemon(dir, options);
    const ready = daemon.#child.stdio[3] as unknown as Socket;
    const said = await new Promise<Buffer>((resolve) => {
      ready.once('data', resolve);
      ready.once('end', () => resolve(Buffer.alloc(0)));
    });
    expect({ said: [...said], stderr: daemon.#stderr }).toEqual({ said: [0], stderr: '' });
    return daemon;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get log(): string {
    return readFileSync(join(this.#dir, 'lazy-pages.log'), 'utf8');
  }

  /** Waits for its end; answers the exit code, and what it has said on stderr. */
  async end(): Promise<{ readonly status: number | null; readonly stderr: string }> {
    return { status: await this.#ended, stderr: this.#stderr };
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    this.#child.kill(signal);
  }

  [Symbol.dispose](): void {
    if (this.#child.exitCode === null) this.kill();
  }
}
