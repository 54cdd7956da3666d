/** What the options say of a dump whose tasks keep their pages (`dump --lazy-pages`). */
import { StasisError } from '../base/errors.ts';
import type { DumpOptions } from '../engine/dump/dump.ts';
import { listeningPlace, tlsOf } from './page-server-place.ts';
import { printOut } from './print.ts';
import type { Settings } from './settings.ts';
import { tellStatus } from './status-fd.ts';

type Keeping = NonNullable<DumpOptions['keeping']>;

/** Where a dump waits for a lazy-pages daemon, and whom it tells. @throws StasisError (usage) */
export function keepingOf(settings: Settings): Keeping {
  const { psSocket, statusFd, pageServer } = settings;
  if (pageServer) throw excluded('--page-server', 'the pages are either sent or kept');
  return {
    place: {
      ...(psSocket === undefined ? { sockaddr: listeningPlace(settings) } : { descriptor: psSocket }),
      tls: tlsOf(settings),
    },
    ready: () => tellStatus(statusFd),
  };
}

/** The same for the command line: where the dump waits is printed, if nobody can know it otherwise. */
export function sayingWhere({ place, ready }: Keeping, { port = 0, psSocket, json }: Settings): Keeping {
  if (port !== 0 || psSocket !== undefined || json) return { place, ready };
  return {
    place,
    ready: (where) => {
      printOut(`listening at ${where.name}\n`);
      ready(where);
    },
  };
}

function excluded(option: string, reason: string): StasisError {
  const resource = `--lazy-pages ${option}`;
  return new StasisError({ kind: 'usage', resource, reason, remedy: 'leave one of them out' });
}
