/**
 * `/proc/PID/limits` (fs/proc/base.c, `proc_pid_limits()`). Reading it needs no rights over the task, while prlimit(2)
 * on another user's task needs CAP_SYS_RESOURCE.
 */

import { RLIM_INFINITY } from '../constants/tasks.ts';
import { latin1, malformed, words } from './common.ts';

/** One resource limit; `RLIM_INFINITY` (2^64-1) is unlimited. */
export interface Rlimit {
  readonly cur: bigint;
  readonly max: bigint;
}

const FILE = '/proc/PID/limits';

/**
 * First column, in the order of the `RLIMIT_*` numbers (of x86, arm64, ppc64, s390; mips, sparc and alpha number some
 * differently).
 */
const NAMES = [
  'Max cpu time',
  'Max file size',
  'Max data size',
  'Max stack size',
  'Max core file size',
  'Max resident set',
  'Max processes',
  'Max open files',
  'Max locked memory',
  'Max address space',
  'Max file locks',
  'Max pending signals',
  'Max msgqueue size',
  'Max nice priority',
  'Max realtime priority',
  'Max realtime timeout',
] as const;

/** What was parsed last: the tasks of a tree nearly always have the same limits. */
let latest: { readonly text: string; readonly limits: readonly Rlimit[] } | undefined;

/** Parses the file into 16 limits indexed by `RLIMIT_*` number. Throws `kernel` when one is missing. */
export function parseLimits(bytes: Uint8Array): readonly Rlimit[] {
  const text = latin1(bytes);
  if (latest?.text !== text) latest = { text, limits: limitsIn(text.split('\n')) };
  return latest.limits;
}

function limitsIn(lines: readonly string[]): Rlimit[] {
  return NAMES.map((name) => {
    // The columns are 25 and 20 wide and a value of 2^64-2 fills its column, but there is always a blank between them.
    const line = lines.find((l) => l.startsWith(`${name} `));
    const [cur, max] = words(line?.slice(name.length) ?? '');
    return { cur: limit(cur, name), max: limit(max, name) };
  });
}

function limit(value: string | undefined, name: string): bigint {
  if (value === 'unlimited') return RLIM_INFINITY;
  if (value === undefined || !/^\d+$/.test(value)) throw malformed(FILE, `no value for "${name}"`);
  return BigInt(value);
}
