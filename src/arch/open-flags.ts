/** Flags of open files (`O_*`) on the machine we run on: another architecture's table is named here. */
import { OPEN_FLAGS as X86_64 } from './x86-64/open-flags.ts';

export const O = X86_64;
