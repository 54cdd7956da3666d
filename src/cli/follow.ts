/** What an attached restore does afterwards: it stays the parent of the tree. */
import { StasisError } from '../base/errors.ts';
import { cstring } from '../base/text.ts';
import { addressOf } from '../kernel/ffi.ts';
import { arenaAddress, arenaPath, arenaView, ERRNO, SyscallError, trySyscall } from '../kernel/syscall.ts';

/** Waits until no child is left; answers the root task's exit code, or 128 + its signal. */
function wait(root: number): number {
  let code = 0;
  for (;;) {
    const pid = trySyscall('wait4', -1, arenaAddress, 0, 0);
    if (pid === -ERRNO.EINTR) continue;
    if (pid < 0) return code;
    const status = arenaView.getInt32(0, true);
    if (pid === root) code = (status & 0x7f) === 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f);
  }
}

/** Replaces Stasis by a command, which so becomes the parent of the tree. Does not return. */
function execute(command: readonly string[]): never {
  const [file] = command;
  if (file === undefined) throw new StasisError({ kind: 'usage', reason: '--exec-cmd without a command after --' });
  const strings = command.map((word) => cstring(word));
  const argv = pointers(strings);
  const environment = Object.entries(process.env).map(([name, value]) => cstring(`${name}=${value ?? ''}`));
  const envp = pointers(environment);
  let errno = ERRNO.ENOENT as number;
  for (const path of candidates(file)) {
    const result = trySyscall('execve', arenaPath(path), addressOf(argv), addressOf(envp));
    if (result !== -ERRNO.ENOENT) errno = -result;
  }
  throw new SyscallError('execve', errno, { resource: file });
}

function candidates(file: string): string[] {
  if (file.includes('/')) return [file];
  return (process.env.PATH ?? '/usr/bin:/bin').split(':').map((dir) => `${dir || '.'}/${file}`);
}

function pointers(strings: readonly Uint8Array[]): BigUint64Array {
  return new BigUint64Array([...strings.map((bytes) => BigInt(addressOf(bytes))), 0n]);
}

export const followTree = { wait, execute };
