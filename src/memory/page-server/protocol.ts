/**
 * What goes over the connection to a page server, as CRIU 4.2 speaks it. Pure.
 *
 * Each message has 32 bytes, in the byte order of the machine, which is little endian on all that Stasis knows; the
 * contents of pages follow the message that announces them. (Up to CRIU 4.1 a message had 24 bytes. No version is sent:
 * a peer of another one is noticed by messages that make no sense.)
 */
import { PAGE_SIZE } from '../../arch/page-size.ts';
import { PageFlags } from '../../images/pagemap.ts';

/** Commands, in the lower 16 bits of the first word. The upper 16 bits are {@link PageFlags} of the pages. */
export const PS = {
  /** Pages follow. Replaced by ADD_F. */
  ADD: 1,
  /** The pages are in the images of the previous dump. Replaced by ADD_F. */
  HOLE: 2,
  /** The messages that follow are about this task or segment. Replaced by OPEN2. */
  OPEN: 3,
  /** As OPEN; answered with a byte: whether the images of the previous dump have this task or segment. */
  OPEN2: 4,
  /** Asks the same without opening anything; answered with 32 bits. */
  PARENT: 5,
  /** Some pages, whose contents follow if they are flagged as present. */
  ADD_F: 6,
  /** Asks for pages (lazy migration). */
  GET: 7,
  /** The end; answered with 32 bits, 0 if all is stored. Then the client hangs up. */
  CLOSE: 0x1023,
  /** The same where the connection stays open. */
  FORCE_CLOSE: 0x1024,
} as const;

/** Size of a message in bytes. */
export const MESSAGE_SIZE = 32;

/** One message. */
export interface PageMessage {
  /** {@link PS}, or what is none of it. */
  readonly command: number;
  /** {@link PageFlags}. */
  readonly flags: number;
  /** How many pages. */
  readonly pages: number;
  /** The address of the first; of a segment the offset. */
  readonly start: number;
  /** What they are of, see {@link targetId}. */
  readonly target: bigint;
}

/** Writes a message at an offset. The fields that a command has no use for are 0. */
export function putMessage(
  into: DataView,
  at: number,
  { command, flags = 0, pages = 0, start = 0, target }: Partial<PageMessage> & Pick<PageMessage, 'command' | 'target'>,
): void {
  into.setUint32(at, ((flags << 16) | command) >>> 0, true);
  into.setUint32(at + 4, 0, true);
  into.setBigUint64(at + 8, BigInt(pages), true);
  into.setBigUint64(at + 16, BigInt(start), true);
  into.setBigUint64(at + 24, target, true);
}

/** Reads a message at an offset. Counts and addresses beyond 2^53 lose their low bits, and are refused in any case. */
export function getMessage(from: DataView, at: number): PageMessage {
  const word = from.getUint32(at, true);
  return {
    command: word & 0xffff,
    flags: word >>> 16,
    pages: Number(from.getBigUint64(at + 8, true)),
    start: Number(from.getBigUint64(at + 16, true)),
    target: from.getBigUint64(at + 24, true),
  };
}

/** What pages are of: a task, by its PID in the images, or a segment, by its inode number. */
export interface PageTarget {
  readonly of: 'task' | 'segment';
  readonly id: bigint;
}

const TYPE_TASK = 1n;
const TYPE_SEGMENT = 2n;
/** What CRIU 1.0 to 3.2 sent by mistake: numbers of an enumeration that grew. */
const OLD_TASK: readonly bigint[] = [10n, 11n, 16n, 17n];
const OLD_SEGMENT: readonly bigint[] = [27n, 28n, 29n, 32n, 33n, 34n];

/** A target as a number. */
export function targetId({ of, id }: PageTarget): bigint {
  return (id << 8n) | (of === 'task' ? TYPE_TASK : TYPE_SEGMENT);
}

/** The target that a number means; undefined if it means none. */
export function targetOf(number: bigint): PageTarget | undefined {
  const type = number & 0xffn;
  const id = number >> 8n;
  if (type === TYPE_TASK || OLD_TASK.includes(type)) return { of: 'task', id };
  if (type === TYPE_SEGMENT || OLD_SEGMENT.includes(type)) return { of: 'segment', id };
  return undefined;
}

/** The flags of the pages that a message adds: older commands imply them. Undefined for other commands. */
export function flagsOfAdded({ command, flags }: PageMessage): number | undefined {
  if (command === PS.ADD_F) return flags;
  if (command === PS.ADD) return PageFlags.PRESENT;
  return command === PS.HOLE ? PageFlags.PARENT : undefined;
}

/** No address of a page lies above that, nor any page in a file: beyond, numbers would not be exact any more. */
const HIGHEST = 2 ** 63;

/**
 * What is wrong with pages that a message adds; undefined if nothing is. `free` is the end of those before: a pagemap
 * is ascending.
 */
export function whyNoPages({ pages, start }: PageMessage, flags: number, free: number): string | undefined {
  const known = PageFlags.PARENT | PageFlags.LAZY | PageFlags.PRESENT;
  const both = PageFlags.PARENT | PageFlags.PRESENT;
  if ((flags & ~known) !== 0 || flags === 0 || (flags & both) === both) return `there are no pages with flags ${flags}`;
  if (pages === 0) return 'a run of no pages';
  if (start % PAGE_SIZE !== 0) return `address 0x${start.toString(16)} is not aligned to pages`;
  if (start < free) return `pages at 0x${start.toString(16)} after those up to 0x${free.toString(16)}`;
  if (start + pages * PAGE_SIZE > HIGHEST) return `${pages} pages at 0x${start.toString(16)} fit into no address space`;
  return undefined;
}
