/** What an attached restore does afterwards: it stays the parent of the tree. */
import { StasisError } from '../base/errors.ts';
import { cstring } from '../base/text.ts';
import { W } from '../kernel/constants/ptrace.ts';
import { SIG } from '../kernel/constants/signals.ts';
import { Pins } from '../kernel/ffi.ts';
import { nap } from '../kernel/nap.ts';
import { arena, arenaAddress, arenaPath, arenaView, ERRNO, SyscallError, trySyscall } from '../kernel/syscall.ts';
import { SignalForwarding } from '../tracee/forward-signals.ts';
import { decodeStop, type Stop } from '../tracee/ptrace.ts';
import { flushLog } from './logfile.ts';

/** Nanoseconds from one call of the polled functions to the next. */
const INTERVAL = 100_000_000;

/**
 * Waits until no child is left, and passes signals on to the restored root meanwhile. Answers 0 however the tree ended,
 * as CRIU does, since the restore itself went well; with `exitCode` what a shell would answer of the root. `polled` is
 * called from time to time until it answers true: see `RestoreContext.whenInFront`.
 */
function wait(root: number, exitCode: boolean, polled: readonly (() => boolean)[] = []): number {
  flushLog();
  const signals = new SignalForwarding(root);
  let pending = polled;
  for (let code = 0; ; ) {
    pending = pending.filter((work) => !work());
    const result = trySyscall('wait4', -1, arenaAddress, pending.length > 0 ? W.NOHANG : 0, 0);
    if (result === 0) nap(INTERVAL);
    if (result < 0 && result !== -ERRNO.EINTR) return exitCode ? code : 0;
    if (result !== root) continue;
    code = exitCodeOf(decodeStop(arenaView.getInt32(0, true)));
    // Other processes of the tree may live on. Signals that were meant for the root are not passed on to these.
    signals[Symbol.dispose]();
  }
}

function exitCodeOf(end: Stop): number {
  if (end.kind === 'exited') return end.code;
  return end.kind === 'killed' ? 128 + end.signal : 0;
}

/** Replaces Stasis by a command, which so becomes the parent of the tree. Does not return. */
function execute(command: readonly string[]): never {
  const [file] = command;
  if (file === undefined) throw new StasisError({ kind: 'usage', reason: '--exec-cmd without a command after --' });
  const strings = command.map((word) => cstring(word));
  using pins = new Pins();
  const argv = pointers(pins, strings);
  const environment = Object.entries(process.env).map(([name, value]) => cstring(`${name}=${value ?? ''}`));
  const envp = pointers(pins, environment);
  restoreSignals();
  flushLog(); // the log closes when the program is executed (O_CLOEXEC); otherwise it takes the error
  let errno = ERRNO.ENOENT as number;
  for (const path of candidates(file)) {
    const result = trySyscall('execve', arenaPath(path), argv, envp);
    if (result !== -ERRNO.ENOENT) errno = -result;
  }
  throw new SyscallError('execve', errno, { resource: file });
}

/** Gives signals that the runtime ignores their default action: the next program would ignore them, too (execve(2)). */
function restoreSignals(): void {
  arena.fill(0, 0, 32); // struct sigaction: SIG_DFL
  for (const signal of [SIG.PIPE, SIG.XFSZ]) trySyscall('rt_sigaction', signal, arenaAddress, 0, 8);
}

function candidates(file: string): string[] {
  if (file.includes('/')) return [file];
  return (process.env.PATH ?? '/usr/bin:/bin').split(':').map((dir) => `${dir || '.'}/${file}`);
}

/** A list of strings as execve(2) takes it; it holds as long as `pins` do. */
function pointers(pins: Pins, strings: readonly Uint8Array[]): BigUint64Array {
  return new BigUint64Array([...strings.map((bytes) => BigInt(pins.address(bytes))), 0n]);
}

export const followTree = { wait, execute };
