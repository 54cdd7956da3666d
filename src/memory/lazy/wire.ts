/**
 * What goes over the socket between a restore and a lazy-pages daemon, as CRIU 4.2 speaks it: of each task its PID in
 * the images (32 bits), and after it a byte with its userfaultfd; of a task for which there is nothing to bring, only
 * the negative PID; and when the tasks are about to run, a last word. Pure.
 *
 * Nothing is said in the other direction by CRIU. Our daemon says which dump its images are of, as soon as it accepts;
 * CRIU's restore leaves that unread.
 */

/** The socket of a daemon, in its work directory. */
export const LAZY_SOCKET = 'lazy-pages.socket';

/** The last word of a restore: the tasks run. No PID is that large. */
export const RESTORED = 0x52535446;

/** A PID, a negative one, or {@link RESTORED}. */
export function encodeWord(value: number): Uint8Array {
  const word = new Uint8Array(4);
  new DataView(word.buffer).setInt32(0, value, true);
  return word;
}
