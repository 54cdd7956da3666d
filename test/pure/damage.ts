/** Damages bytes at random, in the same way on every run. */

/** A small generator of pseudo-random numbers (mulberry32): the same damage on every run. */
export function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** Makes other bytes of some. */
export type Damage = (bytes: Uint8Array, random: (below: number) => number) => Uint8Array;

const EXTREMES = [0x00, 0x7f, 0x80, 0xff];
/** The ways in which bytes of a message or an image are damaged. */
export const damages: readonly Damage[] = [
  // a bit flips
  (bytes, random) => {
    const damaged = bytes.slice();
    const at = random(bytes.length);
    damaged[at] = (bytes[at] as number) ^ (1 << random(8));
    return damaged;
  },
  // the file ends early
  (bytes, random) => bytes.slice(0, random(bytes.length)),
  // some bytes become extreme ones: lengths and varints blow up
  (bytes, random) => {
    const damaged = bytes.slice();
    for (let i = 1 + random(8); i > 0; i--) damaged[random(bytes.length)] = EXTREMES[random(4)] as number;
    return damaged;
  },
  // a stretch is lost
  (bytes, random) => {
    const from = random(bytes.length);
    return Uint8Array.from([...bytes.subarray(0, from), ...bytes.subarray(from + 1 + random(16))]);
  },
  // a stretch comes twice
  (bytes, random) => {
    const from = random(bytes.length);
    const to = from + 1 + random(64);
    return Uint8Array.from([...bytes.subarray(0, to), ...bytes.subarray(from)]);
  },
  // noise after good magics
  (bytes, random) => bytes.map((byte, i) => (i < 8 ? byte : random(256))),
];
