/** The architecture of this machine. */
import { StasisError } from '../base/errors.ts';
import type { Arch } from './arch.ts';
import { X86_64 } from './x86-64/x86-64.ts';

const ARCHITECTURES: Readonly<Record<string, Arch | undefined>> = { x64: X86_64 };

/** The architecture of this machine. @throws StasisError (unsupported) where Stasis has no machine code for it */
export function thisArch(): Arch {
  const arch = ARCHITECTURES[process.arch];
  if (!arch) {
    throw new StasisError({
      kind: 'unsupported',
      code: 'ARCHITECTURE',
      resource: process.arch,
      reason: 'Stasis has no machine code for this processor architecture',
      remedy: 'only x86-64 is supported so far',
    });
  }
  return arch;
}
