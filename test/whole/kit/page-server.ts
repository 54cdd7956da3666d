/** A page server of the built program, and what goes with it. */
import { expect } from 'bun:test';
import { type ChildProcess, spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { stasisCommand } from './stasis.ts';
import { sleep, until } from './until.ts';

/** A page server of the built program. */
export class Server implements Disposable {
  readonly dir: string;
  readonly #child: ChildProcess;
  readonly #ended: Promise<number | null>;
  #said = '';
  #stderr = '';

  private constructor(dir: string, options: readonly string[]) {
    this.dir = dir;
    mkdirSync(dir, { recursive: true });
    const [file = '', ...args] = stasisCommand();
    const line = [...args, 'page-server', '-D', dir, '-o', 'page-server.log', '-v4', '--address', '127.0.0.1'];
    this.#child = spawn(file, [...line, '--status-fd', '3', ...options], { stdio: ['ignore', 'pipe', 'pipe', 'pipe'] });
    this.#child.stdout?.on('data', (bytes: Buffer) => (this.#said += bytes.toString()));
    this.#child.stderr?.on('data', (bytes: Buffer) => (this.#stderr += bytes.toString()));
    this.#ended = new Promise((resolve) => this.#child.on('exit', resolve));
  }

  /** Starts one on a port of the kernel's choice, and waits until it says by its status descriptor that it is ready. */
  static async start(dir: string, options: readonly string[] = []): Promise<Server> {
    const server = new Server(dir, options);
    const ready = server.#child.stdio[3] as unknown as Socket;
    const said = await new Promise<Buffer>((resolve) => ready.once('data', resolve));
    expect([...said]).toEqual([0]);
    await until(
      () => (/listening at 127/.test(server.#said) ? true : undefined),
      5000,
      () => 'no port',
    );
    return server;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get port(): number {
    return Number(/listening at 127\.0\.0\.1:(\d+)/.exec(this.#said)?.[1]);
  }

  get options(): string[] {
    return optionsFor(this.port);
  }

  /** Waits for its end; answers the exit code, and what it has said on stderr. */
  async end(): Promise<{ readonly status: number | null; readonly stderr: string }> {
    const status = await this.#ended;
    await sleep(20);
    return { status, stderr: this.#stderr };
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  get images(): string[] {
    return readdirSync(this.dir).filter((name) => name.endsWith('.img'));
  }

  [Symbol.dispose](): void {
    if (this.#child.exitCode === null) this.kill();
  }
}

/** The options of a dump for a page server on this machine. */
export function optionsFor(port: number): string[] {
  return ['--page-server', '--address', '127.0.0.1', '--port', `${port}`];
}

/** Puts the images of a dump to the pages that its server has stored. */
export function merge(from: string, to: string): void {
  for (const name of readdirSync(from)) {
    if (/\.img$|^stasis-/.test(name)) copyFileSync(join(from, name), join(to, name));
  }
}
