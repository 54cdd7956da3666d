/** `store add|get|ls|rm|gc|check`: a folder of snapshots in which what is equal is there once. */
import type { Invocation } from '../api/invocation.ts';
import { openLog } from '../api/logfile.ts';
import { printOut } from '../api/print.ts';
import type { Command } from '../api/settings.ts';
import { interruptible } from '../api/signals.ts';
import { StasisError } from '../base/errors.ts';
import { withFiles } from '../store/failures.ts';
import { Store } from '../store/store.ts';
import { mib } from './progress.ts';

/** Where a store is if no other is named. */
const USUAL = '/var/lib/stasis/store';

/** What a command of the store does: its answer as an object for programs, and in lines for people. */
interface Answer {
  readonly json: Readonly<Record<string, unknown>>;
  readonly lines: readonly string[];
}

/** Runs the command; returns its exit code. @throws StasisError */
export function run({ command, settings, operands }: Invocation): number {
  const work = WORKS[command];
  if (!work) throw new StasisError({ kind: 'internal', reason: `${command} is no command of a store` });
  const [name = '', more] = operands;
  if (work.named !== (name !== '') || more !== undefined) {
    const reason = work.named ? 'needs the name of a snapshot' : 'takes no name';
    throw new StasisError({ kind: 'usage', resource: command, reason, remedy: `stasis help store says more` });
  }
  openLog(settings.logFile, settings.verbosity);
  const dir = settings.store ?? USUAL;
  const answer = interruptible(() =>
    withFiles(dir, () => {
      using store = Store.open(dir, work.changes);
      return work.of(store, name, settings.imagesDir);
    }),
  );
  if (settings.json) printOut(`${JSON.stringify({ command, store: dir, ...answer.json })}\n`);
  else for (const line of answer.lines) printOut(`${line}\n`);
  return 0;
}

interface Work {
  /** Whether a name belongs to it. */
  readonly named: boolean;
  /** Whether it changes the store. */
  readonly changes: boolean;
  of(store: Store, name: string, imagesDir: string): Answer;
}

const WORKS: Partial<Record<Command, Work>> = {
  'store add': {
    named: true,
    changes: true,
    of(store, name, imagesDir) {
      const { files, size, fresh } = store.add(name, imagesDir, Date.now());
      const line = `${name}: ${files.length} files, ${mib(size, 1)} MiB, of which ${mib(fresh, 1)} MiB are new`;
      return { json: { name, files: files.length, size, fresh }, lines: [line] };
    },
  },
  'store get': {
    named: true,
    changes: false,
    of(store, name, imagesDir) {
      const size = store.get(name, imagesDir);
      return { json: { name, imagesDir, size }, lines: [`${imagesDir}: ${mib(size, 1)} MiB`] };
    },
  },
  'store ls': {
    named: false,
    changes: false,
    of(store) {
      const snapshots = store.list().map(({ name, added, files }) => {
        return { name, added: new Date(added).toISOString(), size: files.reduce((sum, { size }) => sum + size, 0) };
      });
      const width = Math.max(0, ...snapshots.map(({ name }) => name.length));
      const lines = snapshots.map(({ name, added, size }) => {
        return `${name.padEnd(width)}  ${added.slice(0, 19).replace('T', ' ')}  ${mib(size, 1).padStart(9)} MiB`;
      });
      return {
        json: { snapshots, size: store.size() },
        lines: [...lines, `The store has ${mib(store.size(), 1)} MiB.`],
      };
    },
  },
  'store rm': {
    named: true,
    changes: true,
    of(store, name) {
      store.remove(name);
      return { json: { name }, lines: [] };
    },
  },
  'store gc': {
    named: false,
    changes: true,
    of(store) {
      const { freed, kept } = store.collect();
      return { json: { freed, kept }, lines: [`${mib(freed, 1)} MiB freed, ${mib(kept, 1)} MiB kept`] };
    },
  },
  'store check': {
    named: false,
    changes: false,
    of(store) {
      const wrong = store.check();
      if (wrong.length === 0) return { json: { wrong }, lines: ['Everything is as it was stored.'] };
      const [first, ...others] = wrong;
      const reason = others.length > 0 ? `${first}; and ${others.length} more things like that` : `${first}`;
      const remedy = 'remove the snapshots that it names (store rm), or bring the packs back from a copy of the store';
      throw new StasisError({ kind: 'image', resource: store.dir, reason, remedy });
    },
  },
};
