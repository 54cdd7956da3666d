/** Where things are. */
import { join } from 'node:path';

/** The root of the repository. */
export const HOUSE = join(import.meta.dirname, '../../..');
/** Products of tests that may stay: compiled victims. Not in git. */
export const WORK = join(HOUSE, 'test/.work');
