/** The images that describe a dump as a whole. */
import type { ImageSetWriter } from '../images/image-set.ts';
import { Images } from '../images/kinds.ts';
import { IMAGE_VERSION } from '../images/magic.ts';
import { readSystem } from '../kernel/proc/read.ts';
import { arenaAddress, arenaView, syscall } from '../kernel/syscall.ts';
import { idsEntry, OWN_IDS } from './object-ids.ts';

/** The id of the cgroups whoever dumps is in. Tasks of this set are restored to where the restore is run. */
export const ROOT_CG_SET = 1;

/** Clocks at the dump, as CRIU writes them. */
export function writeGlobals(images: ImageSetWriter): void {
  images.write(Images.timens, 0, [{ monotonic: clock(1), boottime: clock(7) }]);
}

function clock(id: number): { tv_sec: bigint; tv_nsec: bigint } {
  syscall('clock_gettime', id, arenaAddress);
  return { tv_sec: arenaView.getBigUint64(0, true), tv_nsec: arenaView.getBigUint64(8, true) };
}

/** Completes the set: from here on it is a dump. */
export function commit(images: ImageSetWriter): void {
  images.commit({
    img_version: IMAGE_VERSION,
    fdinfo_per_id: true,
    root_ids: idsEntry(OWN_IDS),
    ns_per_id: true,
    root_cg_set: ROOT_CG_SET,
    lsmtype: 0,
    network_lock_method: 0,
    plugins_entry: { plugins: [] },
    dump_criu_run_id: Buffer.from(readSystem('/proc/sys/kernel/random/uuid')).toString('latin1').trim(),
  });
}
