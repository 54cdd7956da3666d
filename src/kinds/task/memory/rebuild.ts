/** What the kind does at a restore. */
export { finishMemory } from '../../../memory/finish.ts';
export { rebuildMemory } from '../../../memory/rebuild.ts';
