/** Converts CPU lists, as the kernel prints them, to CPU masks, as it takes them. Pure. */

/** The mask of a list such as `0-2,8`, as little-endian 64-bit words. */
export function cpuMask(list: string): Uint8Array {
  const cpus = list.split(',').flatMap((piece) => {
    const [first = 0, last = first] = piece.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
  const mask = new Uint8Array(8 * Math.ceil((Math.max(...cpus) + 1) / 64));
  for (const cpu of cpus) mask[cpu >> 3] = (mask[cpu >> 3] ?? 0) | (1 << (cpu & 7));
  return mask;
}
