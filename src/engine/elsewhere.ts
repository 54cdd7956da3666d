/** Dumps whose pages do not go into plain images. */
import { Part } from '../base/part.ts';
import type { PageServerClient, PageServerPlace } from '../memory/page-server/client.ts';
import type { PagesElsewhere } from '../memory/sinks/sink.ts';

const CLIENT = new Part(
  () => require('../memory/page-server/client.ts') as typeof import('../memory/page-server/client.ts'),
);

const COMPRESSED = new Part(
  () => require('../memory/sinks/compressed.ts') as typeof import('../memory/sinks/compressed.ts'),
);

/** Who compresses the pages of a dump. @throws StasisError if the runtime cannot compress */
export function compressedPages(): PagesElsewhere {
  return new (COMPRESSED.load().CompressedPages)();
}

/** Connects with the page server of a dump, if it has one. @throws StasisError */
export function connectPageServer(place: PageServerPlace | undefined): PageServerClient | undefined {
  return place && new (CLIENT.load().PageServerClient)(place);
}
