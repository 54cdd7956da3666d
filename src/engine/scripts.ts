/** Action scripts: programs the user wants run at certain points of the story. */
import { StasisError } from '../base/errors.ts';
import { logInfo } from '../base/log.ts';

/** The points, as CRIU names them. */
export type ScriptPoint = 'pre-dump' | 'post-dump' | 'pre-restore' | 'post-restore' | 'pre-resume' | 'post-resume';

export class ActionScripts {
  readonly #scripts: readonly string[];
  readonly #imagesDir: string;

  constructor(scripts: readonly string[], imagesDir: string) {
    this.#scripts = scripts;
    this.#imagesDir = imagesDir;
  }

  /** Runs all scripts for a point; answers the first exit code that is not 0. `pid` is the root task's. */
  run(point: ScriptPoint, pid?: number): number {
    for (const script of this.#scripts) {
      logInfo(`Running ${point} script ${script}`);
      const env = { ...process.env, CRTOOLS_SCRIPT_ACTION: point, CRTOOLS_IMAGE_DIR: this.#imagesDir };
      const withPid = pid === undefined ? env : { ...env, CRTOOLS_INIT_PID: String(pid) };
      // Not imported at the top: it would take a twentieth of every small dump.
      const { status, error } = process.getBuiltinModule('node:child_process').spawnSync(script, [], {
        env: withPid,
        stdio: ['ignore', 'inherit', 'inherit'],
        shell: true,
      });
      if (error || status !== 0) return status || 1;
    }
    return 0;
  }

  /** As {@link run}, where failure stops the work. @throws StasisError */
  require(point: ScriptPoint, pid?: number): void {
    const code = this.run(point, pid);
    if (code === 0) return;
    throw new StasisError({ kind: 'usage', resource: `${point} script`, reason: `it ended with exit code ${code}` });
  }
}
