/** Action scripts: programs the user wants run at certain points of the story. */
import { StasisError } from '../base/errors.ts';
import { logInfo, logWarn } from '../base/log.ts';
import { followedStatus } from '../kernel/statx.ts';

/** The points, as CRIU names them. */
export type ScriptPoint = 'pre-dump' | 'post-dump' | 'pre-restore' | 'post-restore' | 'pre-resume' | 'post-resume';

export class ActionScripts {
  readonly #scripts: readonly string[];
  readonly #imagesDir: string;

  constructor(scripts: readonly string[], imagesDir: string) {
    this.#scripts = scripts;
    this.#imagesDir = imagesDir;
  }

  /**
   * Runs all scripts for a point, the last named first, as CRIU does, whatever becomes of the others; answers the first
   * exit code that is not 0. `pid` is the root task's.
   */
  run(point: ScriptPoint, pid?: number): number {
    let code = 0;
    for (const script of this.#scripts.toReversed()) {
      logInfo(`Running ${point} script ${script}`);
      const ended = this.#start(script, point, pid);
      if (ended !== 0) logWarn('scripts.ts', `script ${script} ended with exit code ${ended}`);
      code ||= ended;
    }
    return code;
  }

  #start(script: string, point: ScriptPoint, pid: number | undefined): number {
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

  /** As {@link run}, where failure stops the work. @throws StasisError */
  require(point: ScriptPoint, pid?: number): void {
    const code = this.run(point, pid);
    if (code === 0) return;
    throw new StasisError({ kind: 'usage', resource: `${point} script`, reason: `it ended with exit code ${code}` });
  }
}
