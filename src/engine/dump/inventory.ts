/** The images that describe a dump as a whole. */
import type { DumpContext } from '../../contract/contract.ts';
import type { ImageSetWriter } from '../../images/image-set-writer.ts';
import { IMAGE_VERSION } from '../../images/magic.ts';
import type { InputOf } from '../../images/message.ts';
import type { inventoryEntry } from '../../images/schema/tree.ts';
import { Lsmtype } from '../../images/schema/tree.ts';
import { readLabel } from '../../kernel/proc/label.ts';
import { readSystem } from '../../kernel/proc/read.ts';
import { lockMethod } from '../../network/lock-method.ts';
import { RUN_ID } from '../../support/run-id.ts';
import { idsEntry, OWN_IDS } from './object-ids.ts';

/**
 * The ID of the cgroup set of Stasis itself. Tasks of this set are restored into the cgroups of the process that
 * restores.
 */
export const ROOT_CG_SET = 1;

/** The number in the image of the security module that gives tasks their labels. */
function labelGiver(): number {
  const module = readLabel('self')?.module;
  return module === 'selinux' ? Lsmtype.SELINUX : module === 'apparmor' ? Lsmtype.APPARMOR : Lsmtype.NO_LSM;
}

/** What every inventory says. */
export function inventoryBase(run: string): InputOf<typeof inventoryEntry> {
  return {
    img_version: IMAGE_VERSION,
    fdinfo_per_id: true,
    root_ids: idsEntry(OWN_IDS),
    ns_per_id: true,
    root_cg_set: ROOT_CG_SET,
    lsmtype: labelGiver(),
    plugins_entry: { plugins: [] },
    dump_criu_run_id: run,
  };
}

/** Completes the image set by writing manifest and inventory. */
export function commit(images: ImageSetWriter, context: DumpContext): void {
  images.commit({
    ...inventoryBase(RUN_ID.of(context)),
    ...(context.options.tcpClose ? { tcp_close: true } : {}),
    ...(context.changes ? { dump_uptime: uptime() } : {}),
    network_lock_method: lockMethod(context),
  });
}

/**
 * Microseconds since boot, by which CRIU tells at the next dump whether a task with the PID of an earlier one is
 * another.
 */
export function uptime(): bigint {
  const [seconds = '0'] = Buffer.from(readSystem('/proc/uptime')).toString('latin1').split(' ');
  return BigInt(Math.round(Number(seconds) * 1e6));
}
