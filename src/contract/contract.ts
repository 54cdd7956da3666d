/**
 * What the engine and the kinds owe each other, in one place to import from. Types only: nothing is loaded for it. Slots
 * are in slots.ts.
 */
export type * from './carry-options.ts';
export type * from './dump.ts';
export type * from './kinds.ts';
export type * from './restore.ts';
export type * from './seen.ts';
