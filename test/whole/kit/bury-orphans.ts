import { readdirSync } from 'node:fs';
import { trySyscall } from '../../../src/kernel/syscall.ts';
import { statOf } from './tree.ts';

/** Buries processes that a victim had for a moment: they are our children when it is gone. */
export function buryOrphans(session: number): void {
  for (const name of readdirSync('/proc')) {
    const stat = /^\d+$/.test(name) ? statOf(Number(name)) : undefined;
    if (stat?.session === session && stat.state === 'Z') trySyscall('wait4', stat.pid, 0, 1, 0);
  }
}
