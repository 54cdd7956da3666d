/** Has processes that Stasis controls enter namespaces. */
import type { LocalFd } from '../base/brands.ts';
import type { EnteringTask } from '../contract/contract.ts';
import { handOver } from '../tracee/handover.ts';

/** Has a process enter a namespace; `flag` is its CLONE_NEW* flag. */
export function enterNamespace(
  { seed, batch }: Pick<EnteringTask, 'seed' | 'batch'>,
  flag: bigint,
  namespace: LocalFd,
): void {
  const [arrived = -1] = handOver(seed, batch, [namespace]);
  const program = batch.reserve(2);
  program.call('setns', arrived, flag);
  program.call('close', arrived);
  batch.flush();
}
