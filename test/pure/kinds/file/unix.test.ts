import { describe, expect, test } from 'bun:test';
import { carryOptions } from '../../../../src/api/engine-options.ts';
import { defaultSettings } from '../../../../src/api/settings.ts';
import type { CarryOptions } from '../../../../src/contract/contract.ts';
import { decodeMessage, encodeMessage } from '../../../../src/images/codec.ts';
import { skOptsEntry } from '../../../../src/images/schema/sockets.ts';
import { AF, SO, SOCK, TCP_STATE } from '../../../../src/kernel/constants/sockets.ts';
import type { UnixSocket } from '../../../../src/kernel/netlink/unix-diag.ts';
import { showUnixName } from '../../../../src/kernel/socket-address.ts';
import { attachFilter, setNumber, setTime, socketPair } from '../../../../src/kernel/sockets.ts';
import { standingOf } from '../../../../src/kinds/file/unix/support.ts';
import {
  captureForgotten,
  captureOptions,
  restoreForgotten,
  restoreOptions,
} from '../../../../src/network/socket-options.ts';

function socket(facts: Partial<UnixSocket>): UnixSocket {
  return {
    ...{ ino: 1, type: SOCK.STREAM, state: TCP_STATE.ESTABLISHED, name: undefined, file: undefined, peer: 2 },
    ...{ pending: [], receiveQueue: 0, sendQueue: 0, shutdown: 0 },
    ...facts,
  };
}

describe('how sockets stand', () => {
  const name = new TextEncoder().encode('\0service');
  const plain = carryOptions(defaultSettings());
  const judge = (
    facts: Partial<UnixSocket>,
    peer: Partial<UnixSocket> = {},
    { ours = true, options = {} }: { ours?: boolean; options?: Partial<CarryOptions> } = {},
  ): unknown => {
    const all = new Map([socket(facts), socket({ ino: 2, peer: 1, ...peer })].map((one) => [one.ino, one]));
    const standing = standingOf(all.get(1), {
      find: (ino) => all.get(ino),
      isOurs: () => ours,
      listenerOf: (ino) => [...all.values()].find(({ pending }) => pending.includes(ino)),
      options: { ...plain, ...options },
    });
    return typeof standing === 'object' ? `${standing.reason} -- ${standing.remedy}` : standing;
  };

  test('pairs, orphans, single ones', () => {
    expect(judge({})).toBe('paired');
    expect(judge({ name }, { name })).toBe('paired');
    expect(judge({ peer: 0, shutdown: 3 })).toBe('orphaned');
    expect(judge({ peer: 0, type: SOCK.DGRAM })).toBe('orphaned');
    expect(judge({ peer: undefined, state: TCP_STATE.CLOSE })).toBe('single');
    expect(judge({ peer: undefined, type: SOCK.DGRAM })).toBe('single');
    expect(judge({ state: TCP_STATE.LISTEN, name })).toBe('single');
    expect(judge({ type: SOCK.DGRAM }, { type: SOCK.DGRAM, peer: 3 })).toBe('oneWay');
  });

  test('connections that wait', () => {
    const listener = { state: TCP_STATE.LISTEN, name, pending: [1] } as const;
    expect(judge({ peer: 0 }, listener)).toBe('pending');
    expect(judge({ peer: 0, sendQueue: 9 }, listener)).toBe('pending');
    const running = { options: { leaveRunning: true } };
    expect(judge({ peer: 0, sendQueue: 9 }, listener, running)).toContain('it has sent data');
    const inOneFile = { options: { inOneFile: true } };
    expect(judge({ peer: 0, sendQueue: 9 }, listener, inOneFile)).toContain(
      'which one file has to be before -- dump it',
    );
    expect(judge({ peer: 0 }, listener, inOneFile)).toBe('pending');
    expect(judge({ peer: 0 })).toContain('not been accepted yet, by a socket of another network namespace');
    expect(judge({ state: TCP_STATE.LISTEN, name, pending: [0] })).toBe('single');
    expect(judge({ state: TCP_STATE.LISTEN, name, pending: [0] }, {}, running)).toContain('the client has closed it');
    expect(judge({ state: TCP_STATE.LISTEN, name, pending: [7] }, {}, { ours: false })).toContain('socket:[7]');
  });

  test('peers outside', () => {
    const outside = (
      options: Partial<CarryOptions>,
      type: number = SOCK.STREAM,
      peer: Partial<UnixSocket> = { name },
    ) => judge({ type }, { type, ...peer }, { ours: false, options });
    expect(outside({})).toMatch(/socket:\[2\] as @service, is held by a process .* -- --unix-peer reconnect/);
    expect(outside({}, SOCK.DGRAM)).toContain(' -- --ext-unix-sk');
    expect(outside({ extUnixSockets: 'all' })).toContain('is held by');
    expect(outside({ extUnixSockets: 'all' }, SOCK.DGRAM)).toBe('reconnect');
    expect(outside({ extUnixSockets: 'all' }, SOCK.DGRAM, {})).toContain('is held by');
    expect(outside({ extUnixSockets: new Set([1]) }, SOCK.STREAM, {})).toBe('external');
    expect(outside({ external: ['unix[1]'] }, SOCK.STREAM, {})).toBe('external');
    expect(outside({ unixPeer: 'reconnect' })).toBe('reconnect');
    expect(outside({ unixPeer: 'reconnect' }, SOCK.STREAM, {})).toContain('dump both processes together');
    expect(outside({ unixPeer: 'reset' }, SOCK.STREAM, {})).toBe('reset');
  });

  test('of another namespace', () => {
    const nothing = { find: () => undefined, isOurs: () => true, listenerOf: () => undefined, options: plain };
    expect(standingOf(undefined, nothing)).toHaveProperty('code', 'SOCKET_OTHER_NAMESPACE');
  });

  test('names', () => {
    expect(showUnixName(new TextEncoder().encode('/run/a\0'))).toBe('/run/a');
  });
});

describe('options', () => {
  test('what is read is what is set, by way of an image', () => {
    const [one, other] = socketPair(AF.UNIX, SOCK.STREAM);
    using from = one;
    using _ = other;
    for (const name of [SO.REUSEADDR, SO.KEEPALIVE, SO.PASSCRED, SO.BROADCAST, SO.OOBINLINE])
      setNumber(from.number, name, 1);
    setNumber(from.number, SO.SNDBUF, 30_000);
    setNumber(from.number, SO.PRIORITY, 3);
    setNumber(from.number, SO.RCVLOWAT, 9);
    setNumber(from.number, SO.PEEK_OFF, 5);
    setTime(from.number, SO.SNDTIMEO, { sec: 2n, usec: 250_000n });
    // ld [0]; jeq #1, 1, 0; ret #0; ret #0xffffffff
    attachFilter(
      from.number,
      new Uint8Array(Buffer.from('20000000000000001500010001000000' + '060000000000000006000000ffffffff', 'hex')),
    );
    const captured = captureOptions(from.number, AF.UNIX);
    expect(captured).toMatchObject({ so_sndbuf: 60_000, so_snd_tmo_sec: 2n, so_passcred: true, so_passsec: false });
    expect(captured.so_filter).toEqual([
      0x20_0000_0000_0000n,
      0x15_0100_0000_0001n,
      0x6_0000_0000_0000n,
      0x6_0000_ffff_ffffn,
    ]);
    const [two, another] = socketPair(AF.UNIX, SOCK.STREAM);
    using to = two;
    using __ = another;
    restoreOptions(to.number, decodeMessage(skOptsEntry, encodeMessage(skOptsEntry, captured)));
    // SO_REUSEADDR waits until an address is there.
    expect(captureOptions(to.number, AF.UNIX)).toEqual({ ...captured, reuseaddr: false });
    restoreForgotten(to.number, captureForgotten(from.number, AF.UNIX));
    expect(captureForgotten(to.number, AF.UNIX)).toEqual({ peekOff: 5 });
    expect(captureForgotten(another.number, AF.UNIX)).toBeUndefined();
  });
});
