/**
 * Where the log lines go: a file, stdout or stderr. Lines are collected and written in large pieces; errors, and
 * the end of the process, write what there is at once.
 */

import { errnoNameOf, StasisError } from '../base/errors.ts';
import { type LogLevel, setLogLevel, setLogSink } from '../base/log.ts';
import { encodeText } from '../base/text.ts';
import { O } from '../kernel/constants/files.ts';
import { disk } from '../kernel/disk.ts';
import { printable, printErr, showTransient } from './print.ts';

const PIECE = 64 * 1024;

interface Open {
  readonly fd: number;
  readonly name: string;
  /** Whether people see these lines anyway, on the terminal. */
  readonly onStderr: boolean;
  lines: string[];
  length: number;
  failed: boolean;
}

let open: Open | undefined;

/**
 * Starts the log. `file` is opened anew, readable by its owner only; `-` means stdout and undefined stderr.
 *
 * @throws StasisError (io) when the file cannot be created
 */
export function openLog(file: string | undefined, level: LogLevel): void {
  closeLog();
  open = { ...target(file), lines: [], length: 0, failed: false };
  setLogLevel(level);
  setLogSink(add);
}

function target(file: string | undefined): Pick<Open, 'fd' | 'name' | 'onStderr'> {
  if (file === undefined) return { fd: 2, name: 'stderr', onStderr: true };
  if (file === '-') return { fd: 1, name: 'stdout', onStderr: false };
  try {
    return { fd: disk.open(file, O.CREAT | O.TRUNC | O.WRONLY | O.APPEND, 0o600), name: file, onStderr: false };
  } catch (error) {
    throw new StasisError({
      kind: 'io',
      resource: file,
      reason: `the log file cannot be created (${errnoNameOf(error)})`,
      remedy: 'its path counts from the work directory (-W, else -D)',
      cause: error,
    });
  }
}

function add(line: string): void {
  if (!open) return;
  const whole = `${printable(line.slice(0, -1))}\n`;
  open.lines.push(whole);
  open.length += whole.length;
  const isError = /^(\([\d.]+\) )?Error \(/.test(whole);
  if (open.length >= PIECE || isError || open.onStderr) flushLog();
}

/** Writes the lines collected so far. That the log cannot be written is reported once, and ends no work. */
export function flushLog(): void {
  if (!open || open.length === 0) return;
  const text = open.lines.join('');
  open.lines = [];
  open.length = 0;
  if (open.fd <= 2) showTransient('');
  try {
    disk.write(open.fd, encodeText(text));
  } catch (error) {
    const code = errnoNameOf(error);
    if (!open.failed && !open.onStderr) printErr(`Warning: ${open.name}: log lines were lost (${code})\n`);
    open.failed = true;
  }
}

/** Writes what is left and closes the file. */
export function closeLog(): void {
  flushLog();
  if (open && open.fd > 2) disk.close(open.fd);
  open = undefined;
}

/** Whether log lines go anywhere but to stderr, where errors are told in another form. */
export function logGoesToFile(): boolean {
  return open !== undefined && !open.onStderr;
}

/** The descriptor of the log; undefined if there is none. */
export function logDescriptor(): number | undefined {
  return open?.fd;
}
