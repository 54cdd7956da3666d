/**
 * The interfaces between the engine and the kinds, in one module to import from. It holds types only, so nothing is
 * loaded at run time. Slots are in slots.ts.
 */
export type * from './carry-options.ts';
export type * from './dump.ts';
export type * from './kinds.ts';
export type * from './namespaces.ts';
export type * from './restore.ts';
export type * from './seen.ts';
