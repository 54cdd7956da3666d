/**
 * What whoever starts a dump or a restore can take part in: the points at which CRIU runs action scripts and notifies
 * the clients of its RPC, and the progress of the work. The engine only fires; scripts and sockets are the business of
 * the faces.
 */
import type { HostPid, LocalFd } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import { logWarn } from '../base/log.ts';
import { atHome } from '../namespaces/inside.ts';

/**
 * What becomes of the work when a hook fails: `abort`: it is given up, and the tasks are as before; `resume`: the
 * images stay, the tasks go on, and the failure is the exit code; `note`: too late for anything but a warning.
 */
export type OnFailure = 'abort' | 'resume' | 'note';

/**
 * Every point, in CRIU's order: those of a dump, of a restore, of servers. The network is locked and unlocked only for
 * a tree with a network namespace of its own, and namespaces are set up only for one with any; the tasks are there by
 * then, with their memory, but none of their open files. `orphan-pts-master` is fired for clients of the RPC only. Not
 * fired yet are `pre-stream`, which belongs to --stream, and `status-ready`, which is for servers.
 */
export const HOOK_POINTS = {
  'pre-stream': 'abort',
  'pre-dump': 'abort',
  'network-lock': 'abort',
  'query-ext-files': 'abort',
  'post-dump': 'resume',
  'network-unlock': 'note',
  'pre-restore': 'abort',
  'setup-namespaces': 'abort',
  'post-setup-namespaces': 'abort',
  'orphan-pts-master': 'abort',
  'post-restore': 'abort',
  'pre-resume': 'note',
  'post-resume': 'note',
  'status-ready': 'note',
} as const satisfies Record<string, OnFailure>;

/** The name of a point, CRIU's. */
export type HookPoint = keyof typeof HOOK_POINTS;

/** What a hook is told at a point. */
export interface HookEvent {
  readonly point: HookPoint;
  /** The PID of the tree's root, as we see it; absent where there is none yet. */
  readonly pid?: number;
  /** At `orphan-pts-master`: our descriptor of a master whose slave a task has, for whoever keeps terminals to copy. */
  readonly descriptor?: LocalFd;
  /** At `post-dump`: the processes of the frozen tree that would run if it were let go now. */
  readonly tasks?: readonly HostPid[];
  /** At `query-ext-files`: names one more resource that is brought along at the restore, as --external does. */
  readonly addExternal?: (key: string) => void;
}

/** How far the work is. */
export interface Progress {
  /**
   * Of a dump: `looking` at the running tree, `freezing` it, `asking` the tasks what only they know, saving `memory`,
   * `writing` the rest; of a restore: `reading` the images, `making` the tasks, filling `memory`, `rebuilding` their
   * state.
   */
  readonly step: 'looking' | 'freezing' | 'asking' | 'memory' | 'writing' | 'reading' | 'making' | 'rebuilding';
  /** Bytes of memory that are done: with the step `memory`; else tasks. */
  readonly done: number;
  /** Of how many; 0: not known. For the memory of a dump an estimate. */
  readonly total: number;
}

/** What may be taken part in. All calls are made in the middle of the work, with tasks frozen: they should be short. */
export interface Hooks {
  /**
   * Called at each point.
   * @returns nothing or 0 to go on; another number is a failure, as the exit code of a script; so is an error thrown
   */
  readonly at?: (event: HookEvent) => number | undefined;
  /** Called whenever something is done; for each megabyte of memory once or more. */
  readonly progress?: (progress: Progress) => void;
  /**
   * Called by the restore of a shell job in the background of its terminal. Whoever stays the job's parent calls `work`
   * from time to time, until it answers true: it gives the terminal to the job when the shell brings that to the front.
   */
  readonly whenInFront?: (work: () => boolean) => void;
}

/**
 * Fires a point.
 *
 * @returns 0, or at `post-dump` the failure
 * @throws StasisError when the hook failed at a point where that ends the work; what the hook threw, if it did
 */
export function fire({ at }: Hooks, event: HookEvent): number {
  if (!at) return 0;
  const { point } = event;
  const onFailure: OnFailure = HOOK_POINTS[point];
  let code: number;
  try {
    code = atHome(() => at(event)) ?? 0;
  } catch (error) {
    if (onFailure !== 'note') throw error;
    logWarn('hooks.ts', `${point}: ${error instanceof Error ? error.message : String(error)}`);
    return 0;
  }
  if (code === 0 || onFailure === 'resume') return code;
  if (onFailure === 'abort') throw failure(point, code);
  logWarn('hooks.ts', `${point} script ended with exit code ${code}`);
  return 0;
}

function failure(point: HookPoint, code: number): StasisError {
  return new StasisError({ kind: 'usage', resource: `${point} script`, reason: `it ended with exit code ${code}` });
}
