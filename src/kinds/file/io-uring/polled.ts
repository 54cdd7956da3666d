/** Maps rings that a process has made itself, in each process that had them mapped. */
import type { RestoreTask } from '../../../contract/contract.ts';
import { ImageError } from '../../../images/error.ts';
import { advise, lock } from '../../../memory/finish.ts';
import { placeMappings } from '../../../memory/fixed-place.ts';
import { isFile } from '../../../memory/space.ts';
import { mapsPolledRing } from '../../../support/ring-notes.ts';

/** Runs when all descriptors are in place. */
export function mapPolledRings(task: RestoreTask): void {
  if (task.shares.vm) return;
  const rings = task.mm.vmas.filter((vma) => isFile(vma) && mapsPolledRing(vma, task.context));
  if (rings.length === 0) return;
  const wanted = rings.map((entry) => {
    const fd = task.fds.find(({ id }) => id === Number(entry.shmid))?.fd;
    if (fd === undefined) {
      throw new ImageError({
        file: `mm-${task.pid}.img`,
        reason: `the process has no descriptor for file ${entry.shmid}`,
      });
    }
    const start = Number(entry.start);
    return { mapping: { start, length: Number(entry.end) - start, entry, key: '', growable: false }, fd };
  });
  placeMappings(task, wanted);
  for (const { mapping } of wanted) {
    advise(task, mapping);
    lock(task, { ...mapping, prot: mapping.entry.prot, locked: false });
  }
}
