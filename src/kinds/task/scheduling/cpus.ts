/** CPU lists as the kernel prints them, and CPU masks as it takes them. Pure. */

/** `0-2,8` as a mask of 64-bit words, little-endian. */
export function cpuMask(list: string): Uint8Array {
  const cpus = list.split(',').flatMap((piece) => {
    const [first = 0, last = first] = piece.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
  const mask = new Uint8Array(8 * Math.ceil((Math.max(...cpus) + 1) / 64));
  for (const cpu of cpus) mask[cpu >> 3] = (mask[cpu >> 3] ?? 0) | (1 << (cpu & 7));
  return mask;
}
