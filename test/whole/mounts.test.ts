/** Mount namespaces. */
import { victimSuite } from './kit/suite.ts';

/** The namespace is another one; which number it has in the images depends on the other types. */
const ANEW = { ignore: [/ns\/mnt/], images: [/_ns_id/] };

victimSuite('mount namespaces', [
  { victim: 'mounts', limitMs: 60_000, ...ANEW },
  { victim: 'mounts', args: ['pivot'], limitMs: 60_000, ...ANEW },
  { victim: 'ghostmounts', ...ANEW },
  { victim: 'idmapped', ...ANEW },
  // The socket is another one.
  { victim: 'covered', ignore: [/ns\/mnt/], images: [/_ns_id/, /usk\.ino$/] },
  // The file system is another one, with numbers of its own.
  { victim: 'watchapart', ignore: [/ns\/mnt/, /^fd 3$/], images: [/_ns_id/, /s_dev$|f_handle/] },
]);
