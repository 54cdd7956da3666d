/** Where the recorded images are, for the tests of images/. */
import { readdirSync, readFileSync } from 'node:fs';

/** The folder of recorded images. */
export const FIXTURES = new URL('../../fixtures/images/', import.meta.url).pathname;

/** A recorded image. */
export interface Recorded {
  /** Relative to the folder: `tree/mm-2609.img`. */
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** All recorded images. */
export function recordedImages(): Recorded[] {
  return ['single', 'simple', 'tree'].flatMap((folder) =>
    readdirSync(FIXTURES + folder)
      .filter((file) => file.endsWith('.img') || file.startsWith('stats-'))
      .map((file) => ({
        name: `${folder}/${file}`,
        bytes: new Uint8Array(readFileSync(`${FIXTURES}${folder}/${file}`)),
      })),
  );
}

/** Runs something that must throw, and returns what it threw. */
export function thrownBy(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}
