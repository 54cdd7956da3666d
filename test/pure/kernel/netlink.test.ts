import { describe, expect, test } from 'bun:test';
import { NETLINK, NLM_F, NLMSG } from '../../../src/kernel/constants/netlink.ts';
import {
  decodeAttributes,
  encodeAttributes,
  hasAttribute,
  listAttributes,
  u32Bytes,
  u32sOf,
} from '../../../src/kernel/netlink/attributes.ts';
import { decodeMessages, encodeMessage, errorOf } from '../../../src/kernel/netlink/message.ts';
import { NetlinkError, NetlinkSocket } from '../../../src/kernel/netlink/socket.ts';
import { decodeUnixSocket } from '../../../src/kernel/netlink/unix-diag.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'));

describe('messages', () => {
  test('as the header file lays them out', () => {
    const message = { type: 20, flags: NLM_F.REQUEST | NLM_F.DUMP, sequence: 7, payload: bytes('abc') };
    const encoded = encodeMessage(message);
    expect(Buffer.from(encoded).toString('hex')).toBe('13000000140001030700000000000000' + '61626300');
    expect(decodeMessages(encoded)).toEqual([message]);
  });

  test('several in a datagram, each at a multiple of 4', () => {
    const messages = ['', 'a', 'abcd', 'abcde'].map((text, i) => ({
      type: 16 + i,
      flags: NLM_F.MULTI,
      sequence: i,
      payload: bytes(text),
    }));
    const datagram = Buffer.concat(messages.map(encodeMessage));
    expect(decodeMessages(new Uint8Array(datagram))).toEqual(messages);
  });

  test('cut off', () => {
    const encoded = encodeMessage({ type: 20, flags: 0, sequence: 1, payload: bytes('abcd') });
    for (const length of [1, 15, 17, 19]) expect(() => decodeMessages(encoded.subarray(0, length))).toThrow('cut off');
    encoded[0] = 3; // shorter than a header
    expect(() => decodeMessages(encoded)).toThrow('cut off');
  });

  test('errors', () => {
    const error = (payload: Uint8Array) => errorOf({ type: NLMSG.ERROR, flags: 0, sequence: 1, payload });
    expect(error(hex('feffffff'))).toBe(2);
    expect(error(hex('00000000'))).toBe(0);
    expect(() => error(new Uint8Array(2))).toThrow('cut off');
  });
});

describe('attributes', () => {
  test('nested, repeated, and bits that are no type', () => {
    const inner = encodeAttributes([
      [1, u32Bytes(0xdead_beef)],
      [2, bytes('x')],
    ]);
    const outer = encodeAttributes([
      [0x8003, inner],
      [4, new Uint8Array()],
      [4, bytes('last')],
    ]);
    expect(outer.length % 4).toBe(0);
    expect(listAttributes(outer).map(([type]) => type)).toEqual([3, 4, 4]);
    const found = decodeAttributes(outer);
    expect(found.get(4)).toEqual(bytes('last'));
    const nested = decodeAttributes(found.get(3) ?? new Uint8Array());
    expect(u32sOf(nested.get(1) ?? new Uint8Array())).toEqual([0xdead_beef]);
    expect(nested.get(2)).toEqual(bytes('x'));
  });

  test('whether one is there', () => {
    const encoded = encodeAttributes([
      [1, bytes('one')],
      [0x8012, bytes('twotwo')],
    ]);
    const after = new Uint8Array([9, 9, 9, 9, ...encoded]);
    expect([1, 2, 0x12].map((type) => hasAttribute(after, 4, type))).toEqual([true, false, true]);
    expect(hasAttribute(after.subarray(0, 6), 4, 1)).toBe(false);
    expect(hasAttribute(new Uint8Array(8), 0, 1)).toBe(false);
  });

  test('what is cut off is left out', () => {
    const encoded = encodeAttributes([
      [1, bytes('one')],
      [2, bytes('twotwo')],
    ]);
    expect([...decodeAttributes(encoded.subarray(0, 12)).keys()]).toEqual([1]);
    expect([...decodeAttributes(new Uint8Array(8)).keys()]).toEqual([]);
  });
});

describe('unix sockets, as Linux 6.18 lists them', () => {
  test('one of a pair', () => {
    expect(
      decodeUnixSocket(hex('01010100ffb8b900707c0000000000000800020000b9b9000c00040000000000000000000500060000000000')),
    ).toEqual({
      ino: 12171519,
      type: 1,
      state: 1,
      name: undefined,
      file: undefined,
      peer: 12171520,
      pending: [],
      receiveQueue: 0,
      sendQueue: 0,
      shutdown: 0,
    });
  });

  test('one whose peer is closed', () => {
    const { peer, shutdown } = decodeUnixSocket(
      hex('01010100e02aba00b47d00000000000008000200000000000c00040000000000000000000500060003000000'),
    );
    expect([peer, shutdown]).toEqual([0, 3]);
  });

  test('one with an abstract name, without a peer', () => {
    const name =
      '002f6372746f6f6c732d66642d333630322d38613138363664642d373163622d343335642d613931362d633733303939643335383433';
    const {
      peer,
      state,
      name: found,
    } = decodeUnixSocket(
      hex(`01020700a3a75b0080600000000000003a000000${name}00000c00040000000000000000000500060000000000`),
    );
    expect([peer, state]).toEqual([undefined, 7]);
    expect(Buffer.from(found ?? []).toString('hex')).toBe(name);
  });
});

test('the kernel says why it refuses', () => {
  using socket = new NetlinkSocket(NETLINK.SOCK_DIAG, 'sockets');
  // SOCK_DIAG_BY_FAMILY of a family there is not.
  expect(() => socket.list(20, new Uint8Array([200, 0, 0, 0]))).toThrow(NetlinkError);
});
