/** Names of the files Stasis adds to an image set. CRIU's tools read only what ends in `.img`. */

/** What CRIU's schema has no place for, of one process and its threads. */
export function extraName(pid: number): string {
  return `stasis-task-${pid}.json`;
}
