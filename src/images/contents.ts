/**
 * Which image files hold data of processes: memory, registers, unread bytes of pipes and sockets. These may contain
 * passwords and keys.
 */

/** How the names of these files begin, up to an ID or the extension. */
const NAMES = [
  ...['pages', 'core', 'stasis-task', 'stasis-pages', 'ghost-file', 'tmpfs', 'tmpfs-dev'],
  ...['pipes-data', 'fifo-data', 'sk-queues', 'tcp-stream', 'tty-data', 'bpfmap-data'],
  ...['ipcns-shm', 'ipcns-msg', 'ipcns-sem', 'stasis-ipcns'],
];

/**
 * Whether only the owner may read a file of an image set (mode 0600). What the other files hold (names, numbers, flags)
 * everybody can see in /proc as well.
 */
export function holdsContents(file: string): boolean {
  return NAMES.some((name) => file.startsWith(name) && /^[-.]/.test(file.slice(name.length)));
}
