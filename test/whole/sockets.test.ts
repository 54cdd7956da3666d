/** Sockets. */
import { victimSuite } from './kit/suite.ts';

/** Inode numbers are new ones. */
const INODES = /\.usk\.(ino|peer)$/;

victimSuite('unix sockets', [
  { victim: 'unixpairs', images: [INODES] },
  { victim: 'unixpairs', args: ['plain'], images: [INODES], ways: ['restore'] },
]);
