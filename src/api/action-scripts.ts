/** Action scripts: programs the user wants run at the points of the work, as one implementation of its hooks. */
import { logInfo, logWarn } from '../base/log.ts';
import type { HookEvent, HookPoint } from '../engine/hooks.ts';
import { followedStatus } from '../kernel/statx.ts';

/** CRIU asks only the clients of its RPC at these points. */
const NOT_FOR_SCRIPTS: readonly HookPoint[] = ['query-ext-files', 'orphan-pts-master'];

/** The scripts of one dump or restore. */
export class ActionScripts {
  readonly #scripts: readonly string[];
  readonly #imagesDir: string;

  /** @param imagesDir what the scripts find in CRTOOLS_IMAGE_DIR */
  constructor(scripts: readonly string[], imagesDir: string) {
    this.#scripts = scripts;
    this.#imagesDir = imagesDir;
  }

  /**
   * Runs all scripts for a point, the last named first, as CRIU does, whatever becomes of the others.
   *
   * @returns the first exit code that is not 0
   */
  at({ point, pid }: HookEvent): number {
    let code = 0;
    if (NOT_FOR_SCRIPTS.includes(point)) return code;
    for (const script of this.#scripts.toReversed()) {
      logInfo(`Running ${point} script ${script}`);
      const ended = this.#start(script, point, pid);
      if (ended !== 0) logWarn('action-scripts.ts', `script ${script} ended with exit code ${ended}`);
      code ||= ended;
    }
    return code;
  }

  #start(script: string, point: HookPoint, pid: number | undefined): number {
    const env = { ...process.env, CRTOOLS_SCRIPT_ACTION: point, CRTOOLS_IMAGE_DIR: this.#imagesDir };
    // A file is run whatever its name; anything else is a command of the shell.
    const command = followedStatus(script) ? '"$0"' : script;
    // Not imported at the top: it would take a twentieth of every small dump.
    const { status, signal, error } = process
      .getBuiltinModule('node:child_process')
      .spawnSync('sh', ['-c', command, script], {
        env: pid === undefined ? env : { ...env, CRTOOLS_INIT_PID: String(pid) },
        stdio: ['ignore', 'inherit', 'inherit'],
      });
    if (error) logWarn('scripts.ts', `script ${script} could not be run: ${error.message}`);
    else if (signal) logWarn('scripts.ts', `script ${script} was ended by ${signal}`);
    return error ? 1 : (status ?? 1);
  }
}
