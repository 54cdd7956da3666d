/** The images that describe a dump as a whole. */
import type { ImageSetWriter } from '../../images/image-set.ts';
import { IMAGE_VERSION } from '../../images/magic.ts';
import { Lsmtype } from '../../images/schema/tree.ts';
import { readLabel } from '../../kernel/proc/label.ts';
import { readSystem } from '../../kernel/proc/read.ts';
import { idsEntry, OWN_IDS } from './object-ids.ts';

/** The id of the cgroups whoever dumps is in. Tasks of this set are restored to where the restore is run. */
export const ROOT_CG_SET = 1;

/** The security module that gives tasks their labels. */
function labelGiver(): number {
  const module = readLabel('self')?.module;
  return module === 'selinux' ? Lsmtype.SELINUX : module === 'apparmor' ? Lsmtype.APPARMOR : Lsmtype.NO_LSM;
}

/** Completes the set: from here on it is a dump. */
export function commit(images: ImageSetWriter): void {
  images.commit({
    img_version: IMAGE_VERSION,
    fdinfo_per_id: true,
    root_ids: idsEntry(OWN_IDS),
    ns_per_id: true,
    root_cg_set: ROOT_CG_SET,
    lsmtype: labelGiver(),
    network_lock_method: 0,
    plugins_entry: { plugins: [] },
    dump_criu_run_id: Buffer.from(readSystem('/proc/sys/kernel/random/uuid')).toString('latin1').trim(),
  });
}
