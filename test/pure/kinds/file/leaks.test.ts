import { describe, expect, test } from 'bun:test';
import { readdirSync, readlinkSync } from 'node:fs';
import type { FileKind, RestoreContext } from '../../../../src/contract/contract.ts';
import { SlotStore } from '../../../../src/contract/slots.ts';
import type { FileEntry } from '../../../../src/images/schema/files.ts';
import { fileKinds } from '../../../../src/kinds/registry.ts';
import { OUR_IDS } from '../../../../src/support/user-ids.ts';

/** There is no such signal: fcntl(F_SETSIG) refuses it. */
const fown = { uid: 0, euid: 0, signum: 200, pid_type: 0, pid: 0 };

/** An entry of each kind whose last step, setting the signal of the file, fails. */
const ENTRIES: readonly [kind: string, entry: Record<string, unknown>][] = [
  ['eventfd', { efd: { id: 1, flags: 0, fown, counter: 3n } }],
  ['epoll', { epfd: { id: 1, flags: 0, fown, tfd: [] } }],
  ['signalfd', { sgfd: { id: 1, flags: 0, fown, sigmask: 1n << 9n } }],
  [
    'timerfd',
    {
      tfd: { id: 1, clockid: 1, ticks: 0n, settime_flags: 0, vsec: 0n, vnsec: 0n, isec: 0n, insec: 0n, flags: 0, fown },
    },
  ],
  ['inotify', { ify: { id: 1, flags: 0, fown, wd: [] } }],
  ['pidfd', { pidfd: { id: 1, nspid: process.pid, flags: 0, fown, ino: 0 } }],
  ['pipe', { pipe: { id: 1, pipe_id: 7, flags: 0, fown } }],
];

function contextWith(entry: FileEntry): { context: RestoreContext; end: () => void } {
  const ending: (() => void)[] = [];
  const context = {
    slots: new SlotStore(),
    options: { inheritFd: new Map() },
    fileEntries: new Map([[1, entry]]),
    images: { own: () => undefined, readEntries: () => [] },
    ids: OUR_IDS,
    hostPid: (pid: number) => pid,
    notice: () => undefined,
    undo: () => undefined,
    atEnd: (work: () => void) => void ending.push(work),
  };
  return { context: context as unknown as RestoreContext, end: () => ending.forEach((work) => void work()) };
}

/** What we have open; the descriptor that reads the list is not told. */
function openFiles(): string[] {
  return readdirSync('/proc/self/fd')
    .map((fd) => {
      try {
        return `${fd} ${readlinkSync(`/proc/self/fd/${fd}`)}`;
      } catch {
        return '';
      }
    })
    .filter((line) => line !== '')
    .sort();
}

describe('a file that cannot be completed leaves no descriptor behind', () => {
  test.each(ENTRIES)('%s', (name, part) => {
    const kind = fileKinds.find((one) => one.name === name) as FileKind;
    expect(kind).toBeDefined();
    const entry = { id: 1, type: kind.type, ...part } as unknown as FileEntry;
    const { context, end } = contextWith(entry);
    const before = openFiles();
    expect(() => kind.rebuild(entry, context)).toThrow('EINVAL');
    end();
    expect(openFiles()).toEqual(before);
  });
});
