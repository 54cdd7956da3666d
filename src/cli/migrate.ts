/** `migrate`: moves a process tree to another machine while it runs. */

import { hooksOf } from '../api/engine-options.ts';
import type { Invocation } from '../api/invocation.ts';
import { connector, migrateOptions, placeNamed, requireTrust, sshConnector } from '../api/migration.ts';
import { isTerminal, printErr, printOut } from '../api/print.ts';
import { requirePrivileges } from '../api/privileges.ts';
import type { Settings } from '../api/settings.ts';
import { interruptible } from '../api/signals.ts';
import { openWorkplace } from '../api/workplace.ts';
import { StasisError } from '../base/errors.ts';
import type { Link } from '../engine/migrate/channel.ts';
import { type MigrationOutcome, migrate, type Round } from '../engine/migrate/source.ts';
import { mib, terminalProgress } from './progress.ts';

/** Runs the command; returns its exit code. */
export async function run(invocation: Invocation): Promise<number> {
  const { settings } = invocation;
  requirePrivileges(settings.unprivileged);
  const connect = await connectorFor(settings);
  const workplace = openWorkplace(invocation);
  const options = migrateOptions(settings, connect);
  using shown = terminalProgress(settings);
  const hooks = hooksOf(settings, workplace, shown);
  const outcome = interruptible(() => migrate(options, connect(), hooks, roundsShown(settings, shown)));
  shown[Symbol.dispose]();
  if (outcome.notices.length > 0)
    (await import('../api/report.ts')).reportNotices(outcome.notices, 'migrate.ts', settings);
  if (settings.json) printOut(`${JSON.stringify(objectOf(outcome, settings))}\n`);
  else printOut(figuresOf(outcome));
  return 0;
}

/** How to reach the other machine. @throws StasisError (usage) */
async function connectorFor(settings: Settings): Promise<() => Link> {
  const { to, ssh } = settings;
  if ((to === undefined) === (ssh === undefined)) {
    const reason = to === undefined ? 'it is not said where to' : '--to and --ssh name two places';
    throw new StasisError({ kind: 'usage', reason, remedy: 'name one: --to HOST:PORT, or --ssh HOST' });
  }
  if (to === undefined) return sshConnector(settings);
  const place = placeNamed(to, '--to');
  requireTrust(place, settings, '--to');
  const { withAddress } = await import('../api/page-server-place.ts');
  const { address = place.host } = await withAddress({ ...settings, address: place.host });
  return connector(settings, { host: address, port: place.port }, place.host);
}

/** Tells of each round on a terminal. */
function roundsShown({ json, verbosity }: Settings, shown: Disposable): (round: Round, index: number) => void {
  if (json || verbosity === 0 || !isTerminal(2)) return () => {};
  return ({ bytes, total, frozen }, index) => {
    shown[Symbol.dispose](); // takes the line away
    const rate = total > 0 ? bytes / MIB / (total / 1000) : 0;
    const stood = `${frozen.toFixed(1)} ms frozen`;
    printErr(`Round ${index}: ${mib(bytes, 1)} MiB in ${total.toFixed(0)} ms (${rate.toFixed(0)} MiB/s), ${stood}\n`);
  };
}

const MIB = 1 << 20;

/** What p.haul prints of a migration, with more digits. */
function figuresOf({ pid, total, frozen, rounds, last, times }: MigrationOutcome): string {
  const seconds = (ms: number): string => `${(ms / 1000).toFixed(3)} sec`;
  const stood = [...rounds.map((round) => round.frozen), frozen].map((ms) => `'${(ms / 1000).toFixed(3)}'`);
  const sent = [...rounds.map(({ bytes }) => bytes), last.bytes].map((bytes) => `${mib(bytes, 1)} MiB`);
  return [
    `Migration succeeded: the tree runs there${pid > 0 ? ` as process ${pid}` : ''}`,
    `     total time is ~${seconds(total)}`,
    `     frozen time is ~${seconds(frozen)} ([ ${stood.join(', ')} ])`,
    `     restore time is ~${seconds(times.making)}`,
    `     memory sent is ${sent.join(', ')}; other images ${(last.images / 1024).toFixed(0)} KiB`,
    '',
  ].join('\n');
}

function objectOf(outcome: MigrationOutcome, { tree }: Settings): Record<string, unknown> {
  const { pid, total, frozen, rounds, last, times } = outcome;
  const round = (ms: number): number => Math.round(ms * 1000) / 1000;
  return {
    command: 'migrate',
    pid: tree,
    pidThere: pid,
    milliseconds: { total: round(total), frozen: round(frozen), restore: round(times.making) },
    rounds: rounds.map(({ bytes, total: took, frozen: stood }) => ({
      bytes,
      total: round(took),
      frozen: round(stood),
    })),
    last,
  };
}
