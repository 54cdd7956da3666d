/**
 * The IDs of namespaces in images. So far all tasks are in the namespaces of the process that dumps them, so one ID for
 * each type is enough. CRIU gives its own namespaces the same IDs.
 */
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

/** The ID of a time namespace other than that of the process that dumps: the next free one. */
export const OWN_TIME_NS_ID = 9;
