/** Memory that relatives share, or have copied. */
import { victimSuite } from './kit/suite.ts';

/** A file without a name is a new one. */
const ghost = [/map /];

victimSuite('memory of relatives', [
  ...['anon', 'memfd', 'future', 'huge', 'growing', 'advice', 'sparse', 'heap'].map((kind) => ({
    victim: 'sharedmem',
    args: [kind],
    ways: ['cycles'] as const,
  })),
  ...['shm', 'nameless', 'deleted'].map((kind) => ({
    victim: 'sharedmem',
    args: [kind],
    ways: ['cycles'] as const,
    ignore: ghost,
  })),
  { victim: 'sharedmem', about: 'all at once', ignore: ghost },
]);
