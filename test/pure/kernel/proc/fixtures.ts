/** Recorded files of /proc, under test/fixtures/proc/KERNEL/; see the README there. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The bytes of one recorded file, as `proc('6.18/odd/stat')`. */
export function proc(path: string): Uint8Array {
  return readFileSync(fileURLToPath(new URL(`../../../fixtures/proc/${path}`, import.meta.url)));
}

/** The bytes of a text given in the test. */
export function ascii(text: string): Uint8Array {
  return Buffer.from(text, 'latin1');
}
