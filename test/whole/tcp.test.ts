/** TCP. */
import { victimSuite } from './kit/suite.ts';

/** Inode numbers are new ones. */
const INODES = /\.isk\.ino$/;

victimSuite('tcp', [{ victim: 'tcpidle', images: [INODES] }]);
