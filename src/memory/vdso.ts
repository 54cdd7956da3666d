/**
 * Reads the symbol table of a vdso, and makes jumps from the entry points of an old vdso to those of the running
 * kernel's. Pure.
 */

import type { Arch } from '../arch/arch.ts';
import { DT, PT, STT } from '../kernel/constants/elf.ts';

const SYMBOL = 24;

/** Offsets of the functions that a vdso image exports, by name; empty if it is no ELF file with a symbol table. */
export function vdsoFunctions(image: Uint8Array): Map<string, number> {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  const found = new Map<string, number>();
  if (image.length < 64 || view.getUint32(0, false) !== 0x7f454c46) return found;
  try {
    const dynamic = dynamicTable(view);
    const symbols = dynamic.get(DT.SYMTAB);
    const strings = dynamic.get(DT.STRTAB);
    const hash = dynamic.get(DT.HASH);
    if (symbols === undefined || strings === undefined || hash === undefined) return found;
    const count = view.getUint32(hash + 4, true); // nchain: the number of symbols
    for (let i = 0; i < count; i++) {
      const at = symbols + i * SYMBOL;
      const value = Number(view.getBigUint64(at + 8, true));
      if ((view.getUint8(at + 4) & 0xf) !== STT.FUNC || value === 0 || value >= image.length) continue;
      found.set(nameAt(image, strings + view.getUint32(at, true)), value);
    }
  } catch {
    // A RangeError means that a table points outside the image. None of the functions of such an image can be trusted.
    return new Map();
  }
  return found;
}

function dynamicTable(view: DataView): Map<number, number> {
  const tags = new Map<number, number>();
  const headers = Number(view.getBigUint64(32, true));
  const count = view.getUint16(56, true);
  for (let i = 0; i < count; i++) {
    const header = headers + i * 56;
    if (view.getUint32(header, true) !== PT.DYNAMIC) continue;
    const start = Number(view.getBigUint64(header + 8, true));
    for (let at = start; view.getBigUint64(at, true) !== 0n; at += 16) {
      tags.set(Number(view.getBigUint64(at, true)), Number(view.getBigUint64(at + 8, true)));
    }
  }
  return tags;
}

function nameAt(image: Uint8Array, at: number): string {
  const end = image.indexOf(0, at);
  return Buffer.from(image.subarray(at, end)).toString('latin1');
}

/**
 * The code of an old vdso with every entry point replaced by a jump to the function of the same name. Functions that
 * the new vdso lacks stay as they are; their names are returned for a warning.
 */
export function redirect(
  old: Uint8Array,
  current: Uint8Array,
  currentAt: number,
  jumpCode: Arch['jumpCode'],
): { image: Uint8Array; lost: string[] } {
  const image = old.slice();
  const targets = vdsoFunctions(current);
  const lost: string[] = [];
  for (const [name, offset] of vdsoFunctions(old)) {
    const target = targets.get(name);
    const code = target === undefined ? undefined : jumpCode(currentAt + target);
    if (!code || offset + code.length > image.length) lost.push(name);
    else image.set(code, offset);
  }
  return { image, lost };
}
