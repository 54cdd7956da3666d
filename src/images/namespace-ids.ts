/**
 * The IDs of namespaces in images: one numbering for the namespaces of all types. The namespaces of the process that
 * dumps have fixed IDs, as in CRIU; those of the tasks that are others get the next free ones.
 */
import type { TaskKobjIdsEntry } from './schema/task.ts';

export const NAMESPACE_IDS = {
  pid_ns_id: 1,
  net_ns_id: 2,
  ipc_ns_id: 3,
  uts_ns_id: 4,
  time_ns_id: 5,
  mnt_ns_id: 6,
  user_ns_id: 7,
  cgroup_ns_id: 8,
} as const;

/** The first ID for a namespace that is not one of the process that dumps. */
export const FIRST_FREE_NAMESPACE_ID = 9;

/** The types of namespaces, as the files in `/proc/PID/ns` are called. User namespaces own the others. */
export const NAMESPACE_TYPES = ['user', 'pid', 'time', 'mnt', 'net', 'ipc', 'uts', 'cgroup'] as const;

/** One of these. */
export type NamespaceName = (typeof NAMESPACE_TYPES)[number];

/** The ID of a namespace of each type. */
export type NamespaceIds = Readonly<Record<NamespaceName, number>>;

/** The IDs of the namespaces of the process that dumps. */
export const OUR_NAMESPACE_IDS: NamespaceIds = namespaceIdsOf({}, undefined);

/** The IDs in an entry. An image of an old CRIU may lack some: these are `ours`, those of the process that dumped. */
export function namespaceIdsOf(entry: Partial<TaskKobjIdsEntry>, ours: NamespaceIds | undefined): NamespaceIds {
  return {
    user: entry.user_ns_id ?? ours?.user ?? NAMESPACE_IDS.user_ns_id,
    pid: entry.pid_ns_id ?? ours?.pid ?? NAMESPACE_IDS.pid_ns_id,
    mnt: entry.mnt_ns_id ?? ours?.mnt ?? NAMESPACE_IDS.mnt_ns_id,
    net: entry.net_ns_id ?? ours?.net ?? NAMESPACE_IDS.net_ns_id,
    ipc: entry.ipc_ns_id ?? ours?.ipc ?? NAMESPACE_IDS.ipc_ns_id,
    uts: entry.uts_ns_id ?? ours?.uts ?? NAMESPACE_IDS.uts_ns_id,
    time: entry.time_ns_id ?? ours?.time ?? NAMESPACE_IDS.time_ns_id,
    cgroup: entry.cgroup_ns_id ?? ours?.cgroup ?? NAMESPACE_IDS.cgroup_ns_id,
  };
}

/** The fields of an entry for these IDs. */
export function namespaceIdFields(ids: NamespaceIds): { [K in keyof typeof NAMESPACE_IDS]: number } {
  return {
    pid_ns_id: ids.pid,
    net_ns_id: ids.net,
    ipc_ns_id: ids.ipc,
    uts_ns_id: ids.uts,
    time_ns_id: ids.time,
    mnt_ns_id: ids.mnt,
    user_ns_id: ids.user,
    cgroup_ns_id: ids.cgroup,
  };
}
