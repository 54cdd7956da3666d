/** Whether the kernel's pages have the size this program is built for. */
import { PAGE_SIZE } from '../arch/page-size.ts';
import { StasisError } from '../base/errors.ts';
import { AUX } from './constants/tasks.ts';
import { auxValue, parseAuxv } from './proc/auxv.ts';
import { readProc } from './proc/read.ts';

/**
 * Asked once, before any task is touched. `auxv` is what the kernel has told this process.
 * @throws StasisError kind 'unsupported'
 */
export function requirePageSize(auxv: Uint8Array = readProc('self', 'auxv')): void {
  const size = Number(auxValue(parseAuxv(auxv), AUX.PAGESZ) ?? PAGE_SIZE);
  if (size === PAGE_SIZE) return;
  throw new StasisError({
    kind: 'unsupported',
    code: 'PAGE_SIZE',
    resource: `pages of ${size} bytes`,
    reason: `Stasis is built for pages of ${PAGE_SIZE} bytes`,
    remedy: `boot a kernel with pages of ${PAGE_SIZE} bytes`,
  });
}
