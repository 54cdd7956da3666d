/** `check`: what this kernel offers; with `-t PID`, what would stand in the way of dumping that process. */

import { carryOptions } from '../api/engine-options.ts';
import { nearest } from '../api/getopt.ts';
import type { Invocation } from '../api/invocation.ts';
import { logGoesToFile } from '../api/logfile.ts';
import { printable, printErr, printOut } from '../api/print.ts';
import { requirePrivileges } from '../api/privileges.ts';
import { noticeForPeople, obstacleLines } from '../api/report.ts';
import type { Settings } from '../api/settings.ts';
import { openWorkplace } from '../api/workplace.ts';
import { hostPid } from '../base/brands.ts';
import { StasisError, sentenceWithoutTask, type TaskRef } from '../base/errors.ts';
import { logWarn } from '../base/log.ts';
import { examine, examineAll, type Verdict, verdictOn } from '../engine/check/examine.ts';
import type { Finding } from '../engine/check/feature.ts';
import { allFeatures, featureByName, featureNames } from '../engine/check/features.ts';
import { examineTask, type TaskReport } from '../engine/check/task.ts';

/** The last line that CRIU prints; tools look for it. */
const VERDICTS: Readonly<Record<Verdict, string>> = {
  good: 'Looks good.',
  partial:
    'Looks good but some kernel features are missing\n' +
    'which, depending on your process tree, may cause\n' +
    'dump or restore failure.',
  bad: 'Does not look good.',
};
const WIDTH = 80;

/** Runs the command; returns its exit code. */
export async function run(invocation: Invocation): Promise<number> {
  const { settings } = invocation;
  const wanted = settings.feature.map(known);
  if (wanted.includes('list')) {
    printOut(listOf(featureNames().sort()));
    return 0;
  }
  if (settings.tree !== undefined && wanted.length > 0) {
    throw new StasisError({
      kind: 'usage',
      reason: '--tree and --feature ask for different things',
      remedy: 'give one',
    });
  }
  requirePrivileges(settings.unprivileged);
  openWorkplace(invocation);
  if (settings.tree !== undefined) return checkTask(settings.tree, settings);
  // As with CRIU, the last of several names counts.
  const feature = wanted.at(-1);
  return feature === undefined ? checkKernel(settings) : checkFeature(feature, settings);
}

/** @throws StasisError when there is no such feature */
function known(name: string): string {
  if (name === 'list' || featureByName(name)) return name;
  const near = nearest(name, featureNames());
  throw new StasisError({
    kind: 'usage',
    reason: `Unknown feature ${name}`,
    remedy: near ? `did you mean ${near}?` : '--feature list names them all',
  });
}

/** Names in lines of at most 80 columns. */
export function listOf(names: readonly string[]): string {
  const lines: string[] = [];
  for (const name of names) {
    const last = lines.at(-1);
    // Every line but the last ends with a comma.
    if (last !== undefined && last.length + name.length + 3 <= WIDTH) lines[lines.length - 1] = `${last}, ${name}`;
    else lines.push(name);
  }
  return `${lines.join(',\n')}\n`;
}

function checkFeature(name: string, settings: Settings): number {
  const feature = featureByName(name);
  if (!feature) return 1; // cannot happen: known() has found it
  const finding = examine(feature);
  if (settings.json) printOut(`${JSON.stringify(toObject(finding))}\n`);
  else if (finding.missing === undefined) printOut(`${name} is supported\n`);
  else if (settings.verbosity > 0) printErr(`${name} is not supported\n${describe(finding)}`);
  return finding.missing === undefined ? 0 : 1;
}

function checkKernel(settings: Settings): number {
  const findings = examineAll(allFeatures());
  const verdict = verdictOn(findings, settings);
  const missing = findings.filter((finding) => finding.missing !== undefined);
  for (const { feature, missing: why } of missing) logMissing(feature.name, why);
  if (settings.json) {
    printOut(`${JSON.stringify({ verdict, missing: missing.length, features: findings.map(toObject) })}\n`);
  } else {
    if (settings.verbosity > 0) printOut(missing.map((one) => `Missing: ${title(one)}\n${describe(one)}`).join(''));
    // On stderr, as CRIU.
    (verdict === 'bad' ? printErr : printOut)(`${VERDICTS[verdict]}\n`);
  }
  return verdict === 'good' ? 0 : 1;
}

function logMissing(name: string, why: string | undefined): void {
  if (logGoesToFile()) logWarn('check.ts', `${name} is missing: ${why}`);
}

function title({ feature }: Finding): string {
  return feature.category === 'named' ? feature.name : `${feature.name} (${feature.category})`;
}

function describe({ feature, missing }: Finding): string {
  const lines = [`needed for ${feature.neededFor}`, `found: ${missing}`, `comes with: ${feature.remedy}`];
  return lines.map((line) => `  ${printable(line)}\n`).join('');
}

function toObject({ feature, missing }: Finding): Record<string, unknown> {
  const { name, category, neededFor, remedy } = feature;
  const supported = missing === undefined;
  return { name, category, supported, neededFor, ...(supported ? {} : { reason: missing, remedy }) };
}

function checkTask(pid: number, settings: Settings): number {
  const report = examineTask(hostPid(pid), carryOptions(settings));
  const free = report.obstacles.length === 0;
  const { task, obstacles, notices } = report;
  if (settings.json) printOut(`${JSON.stringify({ ...task, dumpable: free, obstacles, notices })}\n`);
  else printOut(forPeople(report) + notices.map((notice) => `${noticeForPeople(notice)}\n`).join(''));
  return free ? 0 : 1;
}

function forPeople({ task, processes, obstacles }: TaskReport): string {
  const name = ({ pid, comm }: TaskRef): string => `task ${pid}${comm ? ` (${printable(comm)})` : ''}`;
  const whose = processes > 1 ? `The tree of ${name(task)}, ${processes} processes,` : `T${name(task).slice(1)}`;
  if (obstacles.length === 0) return `${whose} can be dumped.\n`;
  const hint = ({ remedy }: StasisError): string | undefined => (remedy ? `Hint: ${remedy}` : undefined);
  // In a tree the reader has to know whose obstacle it is.
  const tell = (obstacle: StasisError): string => (processes > 1 ? obstacle.message : sentenceWithoutTask(obstacle));
  return `${[`${whose} cannot be dumped:`, ...obstacleLines(obstacles, hint, tell)].join('\n')}\n`;
}
