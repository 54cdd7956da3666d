/** Which image files hold what processes had in memory, in registers or on its way: passwords and keys may be in them. */

/** The beginnings of their names, up to a number or the end. */
const NAMES = [
  ...['pages', 'core', 'stasis-task', 'ghost-file', 'tmpfs', 'tmpfs-dev'],
  ...['pipes-data', 'fifo-data', 'sk-queues', 'tcp-stream', 'tty-data', 'bpfmap-data'],
  ...['ipcns-shm', 'ipcns-msg', 'ipcns-sem'],
];

/**
 * Whether only the owner may read a file of an image set. Everything else (names, numbers, flags) can be seen in /proc by
 * everybody as well.
 */
export function holdsContents(file: string): boolean {
  return NAMES.some((name) => file.startsWith(name) && /^[-.]/.test(file.slice(name.length)));
}
