/**
 * The entry of the program: finds the command, runs it and returns its exit code. What `--version` does not need is
 * imported only where it is needed, since the time to start is part of every dump.
 */

import type { Invocation } from '../api/invocation.ts';
import { versionText } from '../api/version.ts';

/**
 * Runs one command line.
 *
 * @param argv the words after the program's name
 * @param programName what we were called as: `stasis`, `criu`, or `crit`, which is a program of its own
 * @returns the exit code, CRIU's
 */
export async function main(argv: readonly string[], programName: string): Promise<number> {
  if (isSetuid()) {
    console.error(SETUID);
    return 1;
  }
  // Started by a dump (network/queue-keeper.ts), and by nobody else.
  if (argv[0] === 'keep-queues') return (await import('../network/queue-keeper.ts')).keepQueues(Number(argv[1]));
  // Started by whoever has a connection through it (support/transport/), and by nobody else.
  if (argv[0] === 'relay') return (await import('./relay.ts')).runRelay(argv.slice(1));
  if (programName === 'criu-ns') return (await import('./criu-ns.ts')).run(argv, main);
  if (programName === 'crit') return (await import('./crit.ts')).run(argv);
  if (argv.length === 1 && (argv[0] === '--version' || argv[0] === '-V')) {
    console.log(versionText(programName).trimEnd()); // node:fs alone would take a fifth of this command's time
    return 0;
  }
  const speech: Speech = { json: argv.includes('--json'), at: 'main.ts' };
  let failure: unknown;
  try {
    return await obey(argv, programName, speech);
  } catch (error) {
    failure = error;
    const { report } = await import('../api/report.ts');
    report(error, speech.at, speech.json);
  } finally {
    (await import('../api/logfile.ts')).closeLog();
  }
  (await import('../api/signals.ts')).endBySignal(failure);
  return 1;
}

/**
 * Whether the executable gave us another user than the one who started it, so that every option would act on that
 * user's processes and files at the wish of this one.
 */
function isSetuid(): boolean {
  return process.getuid?.() !== process.geteuid?.() || process.getgid?.() !== process.getegid?.();
}

const SETUID = `Error: Stasis does not run setuid or setgid: anybody could have any process dumped, and any file read
Hint: take the bits away (chmod ug-s) and use sudo, or run "stasis service", which gives clients no more than their own rights`;

/** How errors are reported. It is set anew when the command line has been understood. */
interface Speech {
  json: boolean;
  /** The file an error is said to come from, for the log. */
  at: string;
}

async function obey(argv: readonly string[], programName: string, speech: Speech): Promise<number> {
  if (argv.length === 0) {
    console.error(`Usage: ${programName} COMMAND [OPTION...]\nHint: ${programName} --help says more`);
    return 1;
  }
  const { readCommandLine } = await import('./commandline.ts');
  const request = readCommandLine(argv, process.env);
  switch (request.action) {
    case 'help':
      console.log((await import('./help.ts')).helpText(programName, request.topic).trimEnd());
      return 0;
    case 'completion':
      console.log((await import('./completion.ts')).completionScript(request.shell).trimEnd());
      return 0;
    case 'version':
      console.log(versionText(programName).trimEnd());
      return 0;
    case 'run':
      speech.json = request.invocation.settings.json;
      speech.at = `${request.invocation.command}.ts`;
      if (request.refusal) {
        // Test drivers and engines look into the log, also of a command that never began.
        const { openWorkplace } = await import('../api/workplace.ts');
        openWorkplace(request.invocation);
        throw request.refusal;
      }
      return await dispatch(request.invocation);
  }
}

async function dispatch(invocation: Invocation): Promise<number> {
  switch (invocation.command) {
    case 'dump':
      return (await import('./dump.ts')).run(invocation);
    case 'pre-dump':
      return (await import('./pre-dump.ts')).run(invocation);
    case 'restore':
      return (await import('./restore.ts')).run(invocation);
    case 'check':
      return (await import('./check.ts')).run(invocation);
    case 'exec':
      return (await import('./exec.ts')).run(invocation);
    case 'dedup':
      return (await import('./dedup.ts')).run(invocation);
    case 'page-server':
      return (await import('./page-server.ts')).run(invocation);
    case 'lazy-pages':
      return (await import('./lazy-pages.ts')).run(invocation);
    case 'migrate':
      return (await import('./migrate.ts')).run(invocation);
    case 'service':
      return (await import('./service.ts')).run(invocation);
    case 'cpuinfo dump':
    case 'cpuinfo check':
      return (await import('./cpuinfo.ts')).run(invocation);
    case 'store add':
    case 'store get':
    case 'store ls':
    case 'store rm':
    case 'store gc':
    case 'store check':
      return (await import('./store.ts')).run(invocation);
    case 'swrk':
      return (await import('./swrk.ts')).run(invocation);
    case 'crit':
      return (await import('./crit.ts')).run(invocation.operands);
    case 'show':
      console.error('Error: show is gone\nHint: crit show FILE prints an image');
      return 255; // as CRIU does
  }
}
