/** Names of the files that Stasis adds to an image set. They do not end in `.img`, so CRIU's tools do not read them. */

/** The file for state of one process and its threads that CRIU's schema has no place for. */
export function extraName(pid: number): string {
  return `stasis-task-${pid}.json`;
}
