/** Where a command works: its images directory, its work directory, its log. */

import { errnoNameOf, StasisError } from '../base/errors.ts';
import { logInfo, logs, logWarn } from '../base/log.ts';
import { O, S_IF } from '../kernel/constants/files.ts';
import { namesIn } from '../kernel/files.ts';
import { latin1 } from '../kernel/proc/common.ts';
import { readProc } from '../kernel/proc/read.ts';
import { type FileStatus, followedStatus } from '../kernel/statx.ts';
import { trySyscall } from '../kernel/syscall.ts';
import type { Directories } from './engine-options.ts';
import type { Invocation } from './invocation.ts';
import { openLog } from './logfile.ts';
import type { Settings } from './settings.ts';
import { CRIU_VERSION, STASIS_VERSION } from './version.ts';

/**
 * Finds the images directory, changes to the work directory (relative paths of later options count from there, as
 * with CRIU), opens the log there and notes who is working.
 *
 * @throws StasisError (io) when a directory is missing or the log cannot be created
 */
export function openWorkplace({ settings, command, notes }: Invocation): Directories {
  for (const fd of settings.closeFds) closeInherited(fd);
  const { imagesDir, workDir } = directoriesOf(settings);
  try {
    process.chdir(workDir);
  } catch (error) {
    throw unusable(workDir, 'work', '-W', error);
  }
  openLog(settings.logFile, settings.verbosity);
  if (logs(3)) logInfo(`Version: ${CRIU_VERSION} (Stasis ${STASIS_VERSION}, ${command}, ${runtimeName()})`);
  for (const note of notes) logInfo(note);
  warnOfPlugins(settings);
  return { imagesDir, workDir };
}

/** The directories a command is to work in. @throws StasisError (io) when one is missing */
export function directoriesOf(settings: Settings): Directories {
  const imagesDir = directory(settings.imagesDir, 'images', '-D');
  const workDir = settings.workDir === undefined ? imagesDir : directory(settings.workDir, 'work', '-W');
  return { imagesDir, workDir };
}

function runtimeName(): string {
  const { bun, node } = process.versions;
  return bun ? `Bun ${bun}` : `Node ${node}`;
}

function directory(path: string, role: string, option: string): string {
  const absolute = path.startsWith('/') ? path : path === '.' ? process.cwd() : `${process.cwd()}/${path}`;
  let status: FileStatus | undefined;
  try {
    status = followedStatus(absolute);
  } catch (error) {
    throw unusable(path, role, option, error);
  }
  if (!status) throw unusable(path, role, option, { code: 'ENOENT' });
  if ((status.mode & S_IF.MT) === S_IF.DIR) return absolute;
  throw new StasisError({
    kind: 'io',
    resource: path,
    reason: `the ${role} directory is no directory`,
    remedy: `name one with ${option}`,
  });
}

function unusable(path: string, role: string, option: string, error: unknown): StasisError {
  const code = errnoNameOf(error);
  return new StasisError({
    kind: 'io',
    resource: path,
    reason: code === 'ENOENT' ? `the ${role} directory does not exist` : `the ${role} directory is unusable (${code})`,
    remedy: code === 'ENOENT' ? `create it, or name another with ${option}` : `name another with ${option}`,
    cause: error,
  });
}

/**
 * Closes a descriptor that our parent left us. Descriptors of the runtime stay open. They are told apart by FD_CLOEXEC,
 * which a descriptor that has come through our own execve(2) cannot have.
 */
function closeInherited(fd: number): void {
  try {
    const flags = /^flags:\s*([0-7]+)/m.exec(latin1(readProc('self', `fdinfo/${fd}`)))?.[1] ?? '';
    if (!(Number.parseInt(flags, 8) & O.CLOEXEC)) trySyscall('close', fd);
  } catch {
    // It was not open, which is what was asked for.
  }
}

/** C plugins cannot be loaded here; whoever has some should know. */
function warnOfPlugins({ libdir }: Settings): void {
  if (libdir === undefined) return;
  try {
    const plugins = namesIn(libdir).filter((name) => name.endsWith('.so'));
    if (plugins.length > 0) logWarn('workplace.ts', `${libdir}: C plugins are not loaded: ${plugins.join(', ')}`);
  } catch {
    // A directory that is not there holds no plugins.
  }
}
