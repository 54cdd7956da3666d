/** What `cpuinfo check` comes to. */
import { StasisError } from '../base/errors.ts';
import { lackingOf } from '../engine/cpuinfo.ts';
import type { CpuCap } from './settings.ts';

/** The error that this processor is not what `cpuinfo.img` asks for; undefined if it is. @throws StasisError (image) */
export function cpuErrorOf(imagesDir: string, cap: CpuCap): StasisError | undefined {
  // As with CRIU, a check that is to compare nothing compares everything.
  const demand = cap.fpu || cap.ins || cap.cpu ? cap : { fpu: true, ins: true, cpu: true };
  const lacking = lackingOf(imagesDir, demand);
  if (lacking.length === 0) return undefined;
  return new StasisError({
    kind: 'conflict',
    code: 'CPU_STATE',
    reason: `this processor lacks ${lacking.join(', ')}`,
    remedy: 'restore on a machine like that of the dump, or ask for less with --cpu-cap',
  });
}
