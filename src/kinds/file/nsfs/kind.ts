/**
 * Descriptors of namespaces (/proc/PID/ns/*). Only namespaces that Stasis itself is in are carried, since they exist
 * again at the restore.
 */
import { localFd } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import type { FileKind, OpenFile } from '../../../contract/contract.ts';
import { ImageError } from '../../../images/error.ts';
import { NAMESPACE_IDS } from '../../../images/namespace-ids.ts';
import { FdTypes } from '../../../images/schema/files.ts';
import { AT, O } from '../../../kernel/constants/files.ts';
import { CLONE } from '../../../kernel/constants/tasks.ts';
import { parseNsLink } from '../../../kernel/proc/namespaces.ts';
import { readProcLink } from '../../../kernel/proc/read.ts';
import { arenaPath, syscall } from '../../../kernel/syscall.ts';
import { fileObstacle } from '../../../support/fdinfo.ts';
import { imageFlags } from '../../../support/fown.ts';

/** For each type its name in /proc, its ID in images and its CLONE_NEW* flag. */
const TYPES = [
  { name: 'pid', id: NAMESPACE_IDS.pid_ns_id, flag: CLONE.NEWPID },
  { name: 'net', id: NAMESPACE_IDS.net_ns_id, flag: CLONE.NEWNET },
  { name: 'ipc', id: NAMESPACE_IDS.ipc_ns_id, flag: CLONE.NEWIPC },
  { name: 'uts', id: NAMESPACE_IDS.uts_ns_id, flag: CLONE.NEWUTS },
  { name: 'time', id: NAMESPACE_IDS.time_ns_id, flag: CLONE.NEWTIME },
  { name: 'mnt', id: NAMESPACE_IDS.mnt_ns_id, flag: CLONE.NEWNS },
  { name: 'user', id: NAMESPACE_IDS.user_ns_id, flag: CLONE.NEWUSER },
  { name: 'cgroup', id: NAMESPACE_IDS.cgroup_ns_id, flag: CLONE.NEWCGROUP },
] as const;

function typeOf(file: OpenFile): (typeof TYPES)[number] | undefined {
  const name = parseNsLink(file.link)?.type;
  return TYPES.find((type) => type.name === name);
}

/** Namespaces. */
export const nsfs: FileKind = {
  name: 'nsfs',
  type: FdTypes.NS,

  recognises: (file) => typeOf(file) !== undefined,

  obstacle(file) {
    const type = typeOf(file);
    if (!type || readProcLink('self', `ns/${type.name}`) === file.link) return undefined;
    const reason = 'a descriptor of a namespace Stasis is not in itself cannot be carried yet';
    return fileObstacle(file, 'NAMESPACE_DESCRIPTOR', reason, 'have the program close it before the dump');
  },

  capture(file, id) {
    const type = typeOf(file);
    if (!type) throw new StasisError({ kind: 'internal', reason: `${file.link} is no namespace` });
    return { nsf: { id, ns_id: type.id, ns_cflag: Number(type.flag), flags: imageFlags(file.flags) } };
  },

  rebuild(entry) {
    const type = TYPES.find(({ flag }) => Number(flag) === entry.nsf?.ns_cflag);
    if (!type) throw new ImageError({ file: 'files.img', reason: `file ${entry.id}: no such type of namespace` });
    return localFd(syscall('openat', AT.FDCWD, arenaPath(`/proc/self/ns/${type.name}`), O.RDONLY | O.CLOEXEC));
  },
};
