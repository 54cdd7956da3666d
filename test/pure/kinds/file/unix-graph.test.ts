/** How unix sockets are planned to be made, and how names are bound in a staging directory. */
import { describe, expect, test } from 'bun:test';
import type { UnixSkEntry } from '../../../../src/images/schema/sockets.ts';
import { SOCK, TCP_STATE } from '../../../../src/kernel/constants/sockets.ts';
import {
  planSockets,
  requireConsistent,
  type SavedSocket,
  type SocketPlan,
} from '../../../../src/kinds/file/unix/graph.ts';
import type { SocketNote } from '../../../../src/kinds/file/unix/notes.ts';
import { existingDirectory, pathOf, stagedName } from '../../../../src/kinds/file/unix/paths.ts';
import type { WaitingConnection } from '../../../../src/kinds/file/unix/waiting.ts';

type Facts = { name?: string; peer?: number; type?: number; state?: number; uflags?: number; deleted?: boolean };

function socket(ino: number, facts: Facts = {}, note: SocketNote = {}): SavedSocket {
  const { name = '', peer = 0, type = SOCK.STREAM, state = TCP_STATE.ESTABLISHED, uflags = 0 } = facts;
  const entry = { id: ino, ino, type, state, peer, uflags, name: new TextEncoder().encode(name) };
  // What the plan does not look at is left out.
  return { entry: { ...entry, ...(facts.deleted ? { deleted: true } : {}) } as unknown as UnixSkEntry, note };
}

function plan(
  sockets: readonly SavedSocket[],
  { waits = [], waiting = [] }: { waits?: readonly number[]; waiting?: readonly WaitingConnection[] } = {},
): SocketPlan {
  const inside = sockets.filter(({ entry }) => entry.uflags === 0);
  return planSockets(inside, {
    find: (ino) => sockets.find(({ entry }) => entry.ino === ino),
    waits: ({ entry }) => waits.includes(entry.ino),
    waitingIn: ({ note }) => (note.waiting ? waiting : []),
  });
}

const ino = (one: SavedSocket | undefined): number | undefined => one?.entry.ino;
const pairsOf = ({ pairs }: SocketPlan): unknown =>
  pairs.map(({ a, b, apart }) => [ino(a), ino(b), ...apart.map((end) => [ino(end)])]);
const connectionsOf = ({ addresses }: SocketPlan): unknown =>
  addresses.map(({ owner, isListening, connections }) => [
    `${ino(owner)}${isListening ? ' listens' : ''}`,
    ...connections.map(({ client, server }) => `${ino(client)} to ${ino(server)}`),
  ]);
const LISTEN = TCP_STATE.LISTEN;

describe('streams', () => {
  test('pairs and orphans', () => {
    const made = plan([socket(1, { peer: 2 }, { maker: [7, 0, 0] }), socket(2, { peer: 1 }), socket(3)]);
    expect(pairsOf(made)).toEqual([
      [1, 2],
      [3, undefined],
    ]);
    expect(made.pairs[0]?.maker).toEqual([7, 0, 0]);
  });

  test('connections of a listening socket, in images of CRIU too', () => {
    const listener = socket(1, { name: '/a', state: LISTEN });
    const [client, server] = [socket(2, { peer: 3 }), socket(3, { peer: 2, name: '/a' })];
    const waiting = [socket(5, { peer: 1 }, { place: 1 }), socket(4, { peer: 1 }, { place: 0 })];
    const orphan = socket(6, { name: '/a' });
    const made = plan([client, server, ...waiting, orphan, listener]);
    expect(connectionsOf(made)).toEqual([
      ['1 listens', '2 to 3', 'undefined to 6', '4 to undefined', '5 to undefined'],
    ]);
    expect(made.bound.map(ino)).toEqual([1]);
  });

  test('names of which the listening socket is closed are made first', () => {
    const note = { accepted: true, address: '1:5' };
    const accepted = [socket(3, { peer: 4, name: '/a' }, note), socket(5, { peer: 6, name: '/a' }, note)];
    const clients = [socket(4, { peer: 3 }), socket(6, { peer: 5 })];
    const listener = socket(1, { name: '/a', state: LISTEN }, { address: '1:9' });
    expect(connectionsOf(plan([listener, ...accepted, ...clients]))).toEqual([
      ['3', '4 to 3', '6 to 5'],
      ['1 listens'],
    ]);
  });

  test('one that was bound before it was connected is no accepted one', () => {
    const made = plan([socket(1, { peer: 2, name: '/own' }, { address: '1:1' }), socket(2, { peer: 1 })]);
    expect(pairsOf(made)).toEqual([[1, 2]]);
    expect(made.bound.map(ino)).toEqual([1]);
  });

  test('who listened and who connected', () => {
    const listener = socket(1, { name: '/a', state: LISTEN }, { maker: [1, 0, 0] });
    const noted = (client: SocketNote, server: SocketNote): unknown => {
      const sockets = [listener, socket(2, { peer: 3 }, client), socket(3, { peer: 2, name: '/a' }, server)];
      const [{ listenedBy, connectedBy } = {}] = plan(sockets).addresses[0]?.connections ?? [];
      return [listenedBy?.[0], connectedBy?.[0]];
    };
    expect(noted({ maker: [8, 0, 0] }, { maker: [9, 0, 0] })).toEqual([8, 9]);
    // Of two that tell the same, the note is with one.
    expect(noted({ maker: [8, 0, 0] }, {})).toEqual([8, 8]);
    expect(noted({}, { maker: [9, 0, 0] })).toEqual([9, 9]);
  });

  test('what was sent on connections that wait, also by clients that are closed', () => {
    const listener = socket(1, { name: '/a', state: LISTEN }, { waiting: true });
    const waiting = [0, 1].map((place) => ({ place, maker: undefined, messages: [new Uint8Array([place])] }));
    const made = plan([listener, socket(2, { peer: 1 }, { place: 1 })], { waiting });
    expect(connectionsOf(made)).toEqual([['1 listens', 'undefined to undefined', '2 to undefined']]);
  });

  test('a peer outside', () => {
    const made = plan([socket(1, { peer: 2 }), socket(2, { name: '/log', state: LISTEN, uflags: 1 })]);
    expect(made.singles.map(ino)).toEqual([1]);
  });
});

describe('datagrams', () => {
  const dgram = (ino: number, facts: Facts = {}, note: SocketNote = {}): SavedSocket =>
    socket(ino, { ...facts, type: SOCK.DGRAM }, note);

  test('in pairs only where it cannot be otherwise', () => {
    expect(pairsOf(plan([dgram(1, { peer: 2 }), dgram(2, { peer: 1 })]))).toEqual([[1, 2]]);
    const named = [dgram(1, { peer: 2, name: '/a' }), dgram(2, { peer: 1, name: '/b' })];
    expect(plan(named).singles.map(ino)).toEqual([1, 2]);
    // Of a pair, one that has gone on to somebody else; the other one may come later.
    const gone = [dgram(2, { peer: 3 }), dgram(1, { peer: 2 }), dgram(3, { name: '/c' })];
    expect(pairsOf(plan(gone))).toEqual([[1, 2, [2]]]);
    expect(plan(gone).singles.map(ino)).toEqual([3]);
  });

  test('alone', () => {
    expect(plan([dgram(1, { peer: 1, name: '/self' })]).singles.map(ino)).toEqual([1]);
    expect(pairsOf(plan([dgram(1)], { waits: [1] }))).toEqual([[1, undefined, [1]]]);
    expect(pairsOf(plan([dgram(1, {}, { widowed: true, maker: [1, 0, 0] })]))).toEqual([[1, undefined]]);
    expect(plan([dgram(1, { name: '/a' }, { widowed: true })]).singles.map(ino)).toEqual([1]);
  });
});

describe('entries that contradict each other', () => {
  const reason = (one: SavedSocket, peer?: SavedSocket): string => {
    try {
      requireConsistent(one, peer);
      return '';
    } catch (error) {
      return (error as Error).message;
    }
  };
  test('are refused', () => {
    expect(reason(socket(1, { type: 9 }))).toContain('there are no unix sockets of type 9');
    expect(reason(socket(1, { peer: 2 }))).toContain('its peer socket:[2] is in no image');
    expect(reason(socket(1, { peer: 2 }), socket(2, { peer: 3 }))).toContain('is not connected with it');
    expect(reason(socket(1, { peer: 2 }), socket(2, { peer: 1, type: SOCK.DGRAM }))).toContain('of another type');
    const itself = socket(1, { peer: 1 });
    expect(reason(itself, itself)).toContain('is not connected with it');
    expect(reason(socket(1, { name: 'x'.repeat(109) }))).toContain('109 bytes');
    expect(reason(socket(1, { name: '\0x', deleted: true }))).toContain('is no path');
    expect(reason(socket(1, { state: LISTEN }))).toContain('has no name');
    expect(reason(socket(1, { peer: 2 }), socket(2, { state: LISTEN, name: '/a' }))).toBe('');
  });
});

describe('names', () => {
  test('as paths', () => {
    expect(pathOf('/a/b', '/c')).toBe('/a/b');
    expect(pathOf('b', '/c')).toBe('/c/b');
    expect(pathOf('b', '/')).toBe('/b');
    expect(pathOf('b', undefined)).toBe('/b');
  });

  test('in a staging directory', () => {
    expect(stagedName('/run/a.sock')).toEqual({ directories: ['run'], from: '', file: 'run/a.sock' });
    expect(stagedName('a.sock')).toEqual({ directories: [], from: '', file: 'a.sock' });
    expect(stagedName('x/../y/./a')).toEqual({ directories: ['d', 'd/x', 'd/y'], from: 'd', file: 'd/y/a' });
    expect(stagedName('../../a')).toEqual({ directories: ['d', 'd/d'], from: 'd/d', file: 'a' });
    expect(stagedName('/../a')).toEqual({ directories: [], from: '', file: 'a' });
  });

  test('the next directory that is there', () => {
    const exists = (path: string): boolean => path === '/a';
    expect(existingDirectory('/a/b/c/s', exists)).toBe('/a');
    expect(existingDirectory('/a/s', exists)).toBe('/a');
    expect(existingDirectory('/b/s', exists)).toBe('/');
  });
});
