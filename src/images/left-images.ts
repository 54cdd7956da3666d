/** Which files in a folder are images that an earlier dump has left there. */
import type { RawKind } from './kind.ts';
import { Images } from './kinds.ts';

/** What a page server writes, which may have its own images, of this dump, in the same folder. */
const OF_PAGE_SERVERS: readonly RawKind[] = [Images.pagemap, Images.shmemPagemap, Images.pages];

/** Whether a file has the name of an image with an ID that only a dump writes. */
export function isLeftImage(file: string): boolean {
  return Object.values(Images).some((kind: RawKind) => {
    if (kind.framing === 'service' || !kind.pattern.includes('%') || OF_PAGE_SERVERS.includes(kind)) return false;
    const [before = '', after = ''] = kind.pattern.split(/%[uxs]/);
    const end = `${after}.img`;
    return file.startsWith(before) && file.endsWith(end) && /^[\da-f]+$/.test(file.slice(before.length, -end.length));
  });
}
