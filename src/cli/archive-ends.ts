/** Archives on the command line: files count from the directory we were started in, `-` is stdin or stdout. */
import { isTerminal } from '../api/print.ts';
import type { Settings } from '../api/settings.ts';
import { StasisError } from '../base/errors.ts';
import type { ArchiveOptions } from '../engine/archive.ts';
import { F } from '../kernel/constants/files.ts';
import { duplicate } from '../kernel/files.ts';
import { describeErrno, syscall, trySyscall } from '../kernel/syscall.ts';

const [STDIN, STDOUT, STDERR] = [0, 1, 2];

/**
 * Where a dump writes its archive. If that is stdout, nothing else may be written there, by us or by an action script:
 * from then on the descriptor of that number is stderr. To be called before the working directory changes.
 * @throws StasisError (usage) if it is a terminal
 */
export function archiveTarget({ to, ...more }: Settings): ArchiveOptions | undefined {
  if (to === undefined) return undefined;
  if (to !== '-') return { place: { path: absolute(to) }, ...files(more) };
  if (isTerminal(STDOUT)) throw terminal('--to -', 'stdout', '--to - | ssh HOST stasis restore --from -');
  const copy = duplicate(open(STDOUT, '--to -', 'stdout'), 10);
  syscall('dup3', STDERR, STDOUT, 0);
  return { place: { descriptor: copy.release() }, ...files(more) };
}

/** Where a restore reads its archive. @throws StasisError (usage) if it is a terminal */
export function archiveSource({ from, ...more }: Settings): ArchiveOptions | undefined {
  if (from === undefined) return undefined;
  if (from !== '-') return { place: { path: absolute(from) }, ...files(more) };
  if (isTerminal(STDIN)) throw terminal('--from -', 'stdin', '--from - < FILE');
  return { place: { descriptor: open(STDIN, '--from -', 'stdin') }, ...files(more) };
}

function files({ spool, encrypt }: Pick<Settings, 'spool' | 'encrypt'>): Omit<ArchiveOptions, 'place'> {
  return { spool: spool && absolute(spool), keyFile: encrypt && absolute(encrypt) };
}

function open(descriptor: number, option: string, name: string): number {
  const result = trySyscall('fcntl', descriptor, F.GETFD);
  if (result >= 0) return descriptor;
  throw new StasisError({ kind: 'usage', resource: option, reason: `${name} is not open: ${describeErrno(result)}` });
}

function absolute(path: string): string {
  return path.startsWith('/') ? path : `${process.cwd()}/${path}`;
}

function terminal(option: string, name: string, instead: string): StasisError {
  const remedy = `name a file, or connect it: ${instead}`;
  return new StasisError({ kind: 'usage', resource: option, reason: `${name} is a terminal`, remedy });
}
