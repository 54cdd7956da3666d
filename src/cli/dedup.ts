/** `dedup`: frees what earlier images of a chain hold in vain. */
import type { Invocation } from '../api/invocation.ts';
import { printOut } from '../api/print.ts';
import { openWorkplace } from '../api/workplace.ts';
import { dedup } from '../engine/dedup.ts';

/** Runs the command; returns its exit code. */
export function run(invocation: Invocation): number {
  const { imagesDir } = openWorkplace(invocation);
  const freed = dedup(imagesDir);
  if (invocation.settings.json) printOut(`${JSON.stringify({ command: 'dedup', imagesDir, freed })}\n`);
  return 0;
}
