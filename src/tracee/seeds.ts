/** Seeds for who hardly ever needs one: what makes them is loaded then. */
import { Part } from '../base/part.ts';

export const SEEDS = new Part(() => require('./seed.ts') as typeof import('./seed.ts'));
