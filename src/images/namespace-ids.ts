/**
 * The numbers namespaces have in images. All tasks are in the namespaces of whoever dumps them so far, so one number a
 * type serves; CRIU gives its own namespaces the same ones.
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

/** The number of a time namespace that is not that of whoever dumps: the next one. */
export const OWN_TIME_NS_ID = 9;
