/**
 * The programming interface: options of a program are those of the command line under the names of {@link Settings},
 * judged by the same table. Everything is synchronous and happens in the calling process: it is blocked until the work
 * is done, and the tasks of a restore become its children.
 */

import { hostPid } from '../base/brands.ts';
import { StasisError, type TaskRef } from '../base/errors.ts';
import { type LogLevel, setLogLevel, setLogSink } from '../base/log.ts';
import type { Notice } from '../base/notice.ts';
import { examineAll, type Verdict, verdictOn } from '../engine/check/examine.ts';
import { allFeatures, featureByName } from '../engine/check/features.ts';
import { examineTask } from '../engine/check/task.ts';
import { dump as dumpTree } from '../engine/dump/dump.ts';
import type { Hooks as EngineHooks } from '../engine/hooks.ts';
import type { DumpOutcome, RestoreOutcome } from '../engine/outcome.ts';
import { preDump as preDumpTree } from '../engine/pre-dump/pre-dump.ts';
import { restore as restoreTree } from '../engine/restore/restore.ts';
import { S_IF } from '../kernel/constants/files.ts';
import { followedStatus } from '../kernel/statx.ts';
import {
  carryOptions,
  type Directories,
  dumpOptions,
  hooksOf,
  preDumpOptions,
  restoreOptions,
} from './engine-options.ts';
import type { OptionTable } from './options.ts';
import { requirePrivileges } from './privileges.ts';
import { settingsFor } from './program-settings.ts';
import type { Command, Settings } from './settings.ts';

/** The settings that change something for a command, of those that are not a matter of a terminal. */
type KeysFor<C extends Command, Row = OptionTable[number]> = Row extends { readonly terminal: true }
  ? never
  : Row extends { readonly built: readonly (infer Built)[]; readonly value: { readonly key: infer Key } }
    ? C extends Built
      ? Key & keyof Settings
      : never
    : never;

/** The options of a command; all but those named here may be left out, and then have CRIU's defaults. */
type OptionsFor<C extends Command> = { readonly [K in KeysFor<C>]?: Settings[K] | undefined };

/** What to dump, where to, what may be carried. See {@link Settings} for what each means, and in which unit. */
export type DumpOptions = Omit<OptionsFor<'dump'>, 'tree'> & { readonly tree: number };

/** Whose memory to save, and where to. */
export type PreDumpOptions = Omit<OptionsFor<'pre-dump'>, 'tree'> & { readonly tree: number };

/** What to restore and how. */
export type RestoreOptions = OptionsFor<'restore'>;

/** What to look at: with `tree` a process tree, else the kernel. */
export type CheckOptions = OptionsFor<'check'>;

/** What a program can take part in. */
export interface Hooks extends EngineHooks {
  /** Told of each line of the log, in CRIU's form; `verbosity` says how much is logged. */
  readonly log?: (line: string) => void;
}

/** What stands in the way of dumping a tree. */
export interface TreeReport {
  readonly task: TaskRef;
  /** How many living processes there are in the tree. */
  readonly processes: number;
  readonly dumpable: boolean;
  /** Everything that cannot be carried. */
  readonly obstacles: readonly StasisError[];
  /** What would be lost or changed, although a dump is possible. */
  readonly notices: readonly Notice[];
}

/** One feature of the kernel. */
export interface FeatureReport {
  readonly name: string;
  readonly category: string;
  readonly neededFor: string;
  readonly supported: boolean;
  /** What was found instead. */
  readonly reason: string | undefined;
}

/** What this kernel offers. */
export interface KernelReport {
  readonly verdict: Verdict;
  readonly features: readonly FeatureReport[];
}

/**
 * Dumps a process tree. It completes, or the tree goes on as if nothing had been.
 *
 * @example
 * const { figures } = dump({ tree: 4711, imagesDir: '/var/tmp/images', finalState: 'running' });
 * console.log(`frozen for ${figures.frozen} microseconds`);
 *
 * @throws StasisError; ObstacleError when something cannot be carried, before anything is touched
 */
export function dump(options: DumpOptions, hooks: Hooks = {}): DumpOutcome {
  const settings = settingsFor('dump', options);
  requirePrivileges(settings.unprivileged);
  const directories = directoriesOf(settings);
  using _ = new Logging(hooks, settings.verbosity);
  return dumpTree(dumpOptions(settings, directories), hooksOf(settings, directories, hooks));
}

/**
 * Saves the memory of a process tree that goes on, for a dump that follows with `prevImagesDir`.
 *
 * @example
 * preDump({ tree: 4711, imagesDir: '/var/tmp/1' });
 * dump({ tree: 4711, imagesDir: '/var/tmp/2', prevImagesDir: '../1' });
 *
 * @throws StasisError
 */
export function preDump(options: PreDumpOptions, hooks: Hooks = {}): DumpOutcome {
  const settings = settingsFor('pre-dump', options);
  requirePrivileges(settings.unprivileged);
  const directories = directoriesOf(settings);
  using _ = new Logging(hooks, settings.verbosity);
  return preDumpTree(preDumpOptions(settings, directories), hooks);
}

/**
 * Restores a process tree: all of it runs afterwards, or nothing is left of it. Its root becomes a child of the calling
 * process, or with `restoreSibling` a child of that one's parent.
 *
 * @example
 * const { pid } = restore({ imagesDir: '/var/tmp/images' }, { at: ({ point }) => void console.log(point) });
 *
 * @throws StasisError
 */
export function restore(options: RestoreOptions = {}, hooks: Hooks = {}): RestoreOutcome {
  const settings = settingsFor('restore', options);
  requirePrivileges(settings.unprivileged);
  const directories = directoriesOf(settings);
  using _ = new Logging(hooks, settings.verbosity);
  return restoreTree(restoreOptions(settings, directories), hooksOf(settings, directories, hooks));
}

/**
 * With `tree`: what stands in the way of dumping that tree, which is not touched. Without: what this kernel offers.
 *
 * @example
 * const { dumpable, obstacles } = check({ tree: 4711 });
 * for (const { message, remedy } of obstacles) console.log(message, remedy);
 *
 * @throws StasisError when there is no such process or feature
 */
export function check(
  options: Omit<CheckOptions, 'tree'> & { readonly tree: number },
  hooks?: Pick<Hooks, 'log'>,
): TreeReport;
export function check(options?: CheckOptions & { readonly tree?: undefined }, hooks?: Pick<Hooks, 'log'>): KernelReport;
export function check(options: CheckOptions = {}, hooks: Pick<Hooks, 'log'> = {}): TreeReport | KernelReport {
  const settings = settingsFor('check', options);
  requirePrivileges(settings.unprivileged);
  using _ = new Logging(hooks, settings.verbosity);
  if (settings.tree === undefined) return checkKernel(settings);
  const report = examineTask(hostPid(settings.tree), carryOptions(settings));
  return { ...report, dumpable: report.obstacles.length === 0 };
}

function checkKernel(settings: Settings): KernelReport {
  const named = settings.feature.map((name) => {
    const feature = featureByName(name);
    if (feature) return feature;
    throw new StasisError({ kind: 'usage', resource: 'feature', reason: `there is no feature ${name}` });
  });
  const findings = examineAll(named.length > 0 ? named : allFeatures());
  const features = findings.map(({ feature: { name, category, neededFor }, missing }) => ({
    name,
    category,
    neededFor,
    supported: missing === undefined,
    reason: missing,
  }));
  const lacking = named.length > 0 && features.some(({ supported }) => !supported);
  return { verdict: lacking ? 'bad' : verdictOn(findings, settings), features };
}

/** Relative paths count from the current directory, which stays what it is. */
function directoriesOf({ imagesDir, workDir = imagesDir }: Settings): Directories {
  return { imagesDir: directory(imagesDir, 'images'), workDir: directory(workDir, 'work') };
}

function directory(path: string, role: string): string {
  const absolute = path.startsWith('/') ? path : `${process.cwd()}/${path}`;
  const status = followedStatus(absolute);
  if (status && (status.mode & S_IF.MT) === S_IF.DIR) return absolute;
  throw new StasisError({ kind: 'io', resource: path, reason: `there is no such directory (${role})` });
}

/** As long as this exists, the log goes to the program's hook, or nowhere if there is none. */
class Logging implements Disposable {
  constructor({ log }: Pick<Hooks, 'log'>, level: LogLevel) {
    setLogLevel(level);
    // A line ends with a newline in a file; here it is one string.
    setLogSink((line) => log?.(line.trimEnd()));
  }

  [Symbol.dispose](): void {
    setLogSink(() => {});
  }
}
