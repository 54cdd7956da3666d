/** The requests that do something: dump, restore, check. */

import { cpuErrorOf } from '../api/cpuinfo.ts';
import { dumpOptions, hooksOf, preDumpOptions, restoreOptions } from '../api/engine-options.ts';
import { printDumpFigures, printRestoreFigures } from '../api/figures.ts';
import { followTree } from '../api/follow.ts';
import { logDescriptor } from '../api/logfile.ts';
import { requirePrivileges } from '../api/privileges.ts';
import { noticeToLog } from '../api/report.ts';
import { interruptible } from '../api/signals.ts';
import { StasisError } from '../base/errors.ts';
import { logWarn } from '../base/log.ts';
import type { CarryOptions } from '../contract/contract.ts';
import { examineAll, verdictOn } from '../engine/check/examine.ts';
import { allFeatures } from '../engine/check/features.ts';
import { saveCpuInfo } from '../engine/cpuinfo.ts';
import { dump } from '../engine/dump/dump.ts';
import { preDump } from '../engine/pre-dump/pre-dump.ts';
import { restore } from '../engine/restore/restore.ts';
import type { CriuOpts, CriuReq } from '../images/schema/rpc.ts';
import { statusOf } from '../kernel/statx.ts';
import { syscall } from '../kernel/syscall.ts';
import { attempt, begin, type Done } from './begin.ts';
import type { Channel } from './channel.ts';
import { notifications } from './notifications.ts';
import type { Client } from './request.ts';

/** DUMP. Whoever has itself dumped is answered only if it goes on. */
export function dumpFor(request: CriuReq, channel: Channel, client: Client): Done | undefined {
  const reply = { dump: { restored: false } };
  return attempt(reply, () => {
    const { invocation, directories } = begin('dump', request.opts, client);
    const { settings } = invocation;
    const hooks = hooksOf(settings, directories, hooksFor(request.opts, channel));
    const { exitCode, figures, notices } = interruptible(() =>
      dump(forClient(dumpOptions(settings, directories), request.opts, channel), hooks),
    );
    for (const notice of notices) noticeToLog(notice, 'dump.ts');
    if (settings.displayStats) printDumpFigures(figures);
    if (exitCode !== 0) throw refused(exitCode);
    const isGone = settings.tree === client.pid && settings.finalState !== 'running';
    return isGone ? undefined : { success: true, reply };
  });
}

/** PRE_DUMP and SINGLE_PRE_DUMP. No client is notified of anything, as with CRIU. */
export function preDumpFor({ opts }: CriuReq, _: Channel, client: Client): Done | undefined {
  return attempt({}, () => {
    const { invocation, directories } = begin('pre-dump', opts, client);
    const { settings } = invocation;
    const { figures, notices } = interruptible(() => preDump(preDumpOptions(settings, directories)));
    for (const notice of notices) noticeToLog(notice, 'pre-dump.ts');
    if (settings.displayStats) printDumpFigures(figures);
    return { success: true, reply: {} };
  });
}

/** RESTORE. */
export function restoreFor(request: CriuReq, channel: Channel, client: Client): Done | undefined {
  return attempt({ restore: { pid: -1 } }, () => {
    const { invocation, directories } = begin('restore', request.opts, client);
    const { settings, operands } = invocation;
    const hooks = hooksOf(settings, directories, hooksFor(request.opts, channel));
    const { pid, figures, notices } = interruptible(() =>
      restore(forClient(restoreOptions(settings, directories), request.opts, channel), hooks),
    );
    for (const notice of notices) noticeToLog(notice, 'restore.ts');
    if (settings.displayStats) printRestoreFigures(figures);
    const afterwards = settings.execCmd ? () => become(operands) : undefined;
    return { success: true, reply: { restore: { pid } }, afterwards };
  });
}

/** CHECK. The options say no more than where its log is. */
export function checkFor({ opts }: CriuReq, _: Channel, client: Client): Done | undefined {
  return attempt({}, () => {
    if (opts?.log_file && !opts.log_to_stderr) begin('check', opts, client);
    requirePrivileges(client.rights !== 'all' || (opts?.unprivileged ?? false));
    const findings = examineAll(allFeatures());
    const missing = findings.filter(
      ({ feature, missing: why }) => feature.category === 'required' && why !== undefined,
    );
    for (const { feature, missing: why } of missing) logWarn('check.ts', `${feature.name} is missing: ${why}`);
    if (verdictOn(findings, { extra: false, experimental: false }) === 'good') return { success: true, reply: {} };
    const names = missing.map(({ feature }) => feature.name).join(', ');
    throw new StasisError({ kind: 'kernel', reason: `this kernel lacks ${names}`, remedy: 'stasis check says more' });
  });
}

/** CPUINFO_DUMP and CPUINFO_CHECK. */
export function cpuInfoFor(what: 'dump' | 'check', { opts }: CriuReq, _: Channel, client: Client): Done | undefined {
  return attempt({}, () => {
    const { invocation, directories } = begin(`cpuinfo ${what}`, opts, client);
    if (what === 'dump') saveCpuInfo(directories.imagesDir);
    const error = what === 'check' ? cpuErrorOf(directories.imagesDir, invocation.settings.cpuCap) : undefined;
    if (error) throw error;
    return { success: true, reply: {} };
  });
}

/** What no option says, since only a client can be handed a terminal, or have itself dumped. */
function forClient<T extends { readonly carry: CarryOptions }>(
  options: T,
  opts: CriuOpts | undefined,
  channel: Channel,
): T {
  const carry = { orphanPtsMaster: opts?.orphan_pts_master ?? false, ownSocket: statusOf(channel.fd).ino };
  return { ...options, carry: { ...options.carry, ...carry } };
}

function hooksFor(opts: CriuOpts | undefined, channel: Channel): ReturnType<typeof notifications> {
  return opts?.notify_scripts ? notifications(channel) : {};
}

function refused(exitCode: number): StasisError {
  return new StasisError({
    kind: 'usage',
    resource: 'post-dump',
    reason: `the client or an action script has failed there (${exitCode}): the images stay, and the tasks go on`,
  });
}

/** Becomes the command that is to be the parent of the tree; what it prints goes to the log, as with CRIU. */
function become(command: readonly string[]): void {
  const log = logDescriptor();
  if (log !== undefined) for (const standard of [1, 2]) syscall('dup3', log, standard, 0);
  followTree.execute(command);
}
