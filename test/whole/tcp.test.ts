/** TCP. */
import { victimSuite } from './kit/suite.ts';

/** Inode numbers are new ones. */
const INODES = /\.isk\.ino$/;

const ESTABLISHED = { dump: ['--tcp-established'], restore: ['--tcp-established'] } as const;

victimSuite('tcp', [
  { victim: 'tcpidle', images: [INODES] },
  // A connection's image is named after its inode, and its windows move.
  ...['4', '6', 'mapped'].map((family) => ({
    victim: 'tcpstates',
    args: [family],
    // Receive buffers grow with what comes in. Whatever is bound to an address of IPv6 is IPV6_V6ONLY.
    images: [INODES, /^tcp-stream/, /\.(so_rcvbuf|v6only)$/],
    ...ESTABLISHED,
  })),
]);
