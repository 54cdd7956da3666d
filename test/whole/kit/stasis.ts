/** Runs Stasis as a user does: the executable, with a command line. */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { HOUSE } from './house.ts';
import { noteKilled } from './tables.ts';

let command: readonly string[] | undefined;

/** The command that is tested: `STASIS_BIN` (words), else the built executable, else the source if that is newer. */
export function stasisCommand(): readonly string[] {
  command ??= chooseCommand();
  return command;
}

function chooseCommand(): string[] {
  const chosen = process.env.STASIS_BIN;
  if (chosen) return chosen.split(' ');
  const built = join(HOUSE, 'dist/stasis');
  const age = statSync(built, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const sources = readdirSync(join(HOUSE, 'src'), { recursive: true, encoding: 'utf8' });
  if (sources.every((file) => statSync(join(HOUSE, 'src', file)).mtimeMs <= age)) return [built];
  return [join(HOUSE, 'node_modules/.bin/bun'), join(HOUSE, 'src/main.ts')];
}

/** How a command ended. */
export interface Outcome {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Wall time in milliseconds, and when it began and ended (performance.now()). */
  readonly ms: number;
  readonly began: number;
  readonly ended: number;
}

export interface RunOptions {
  /** Killed after so many milliseconds (30,000). */
  readonly limitMs?: number;
  /** Put before the command: a wrapper. */
  readonly wrapper?: readonly string[];
  /** The command instead of {@link stasisCommand}. */
  readonly command?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Called with the process ID as soon as it runs. */
  readonly started?: (pid: number) => void;
}

/** Runs a command to its end. A program that had to be killed for time is told by its signal. */
export function run(command: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const [file = '', ...args] = command;
  const began = performance.now();
  const child = spawn(file, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...options.env },
    cwd: options.cwd,
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), options.limitMs ?? 30_000);
  if (child.pid !== undefined) options.started?.(child.pid);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    // `exit`, not `close`: a restored task may hold our pipe open.
    child.on('exit', (status, signal) => {
      const ended = performance.now();
      clearTimeout(timer);
      if (signal && child.pid !== undefined) noteKilled(child.pid);
      setImmediate(() => {
        child.stdout.destroy();
        child.stderr.destroy();
        resolve({ status, signal, stdout, stderr, ms: ended - began, began, ended });
      });
    });
  });
}

/** Runs Stasis with a command line. */
export function stasis(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  return run([...(options.wrapper ?? []), ...(options.command ?? stasisCommand()), ...args], options);
}

/** Runs Stasis, which must succeed; the error shows what it said, and the end of its log. */
export async function stasisOk(args: readonly string[], log?: string, options: RunOptions = {}): Promise<Outcome> {
  const outcome = await stasis(args, options);
  if (outcome.status !== 0) throw new Error(complaint(args, outcome, log));
  return outcome;
}

/** What to show of a command that did not do what it should. */
export function complaint(args: readonly string[], outcome: Outcome, log?: string): string {
  const tail = log && existsSync(log) ? readFileSync(log, 'utf8').split('\n').slice(-25).join('\n') : '';
  const end = outcome.signal ?? `exit ${outcome.status}`;
  return `stasis ${args.join(' ')}: ${end} after ${outcome.ms.toFixed(0)} ms\n${outcome.stdout}${outcome.stderr}\n${tail}`;
}
