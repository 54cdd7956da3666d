/** Everything a program may use of Stasis: what src/index.ts, the package's entry, passes on. */

export { type ErrorKind, ObstacleError, StasisError, type TaskRef } from '../base/errors.ts';
export type { Notice } from '../base/notice.ts';
export { HOOK_POINTS, type HookEvent, type HookPoint, type OnFailure, type Progress } from '../engine/hooks.ts';
export type { DumpFigures, DumpOutcome, RestoreFigures, RestoreOutcome } from '../engine/outcome.ts';
export {
  type FileReport,
  type ImagesReport,
  type InspectOptions,
  inspect,
  type MemoryReport,
  type TaskReport,
} from './inspect.ts';
export {
  type CheckOptions,
  check,
  type DumpOptions,
  dump,
  type FeatureReport,
  type Hooks,
  type KernelReport,
  type PreDumpOptions,
  preDump,
  type RestoreOptions,
  restore,
  type TreeReport,
} from './programs.ts';
export type { CgroupMode, Command, FinalState, InheritFd, KeyValue, Settings } from './settings.ts';
export { CRIU_VERSION, STASIS_VERSION } from './version.ts';
