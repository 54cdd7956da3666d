/** Segments of TCP, compared with packets a kernel has sent. */
import { expect, test } from 'bun:test';
import { packetOf, SEGMENT, synOptions } from '../../../src/network/tcp-segment.ts';

/** The sum that the header's checksum makes zero (RFC 1071). */
function sumOf(...parts: readonly Uint8Array[]): number {
  let sum = 0;
  for (const part of parts) for (let i = 0; i < part.length; i += 2) sum += ((part[i] ?? 0) << 8) | (part[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

const common = { fromPort: 80, toPort: 4660, sequence: 0xffff_fffe, acknowledged: 0x1_0000_0002 };

test('IPv4', () => {
  const from = new Uint8Array([192, 0, 2, 1]);
  const to = new Uint8Array([192, 0, 2, 2]);
  const packet = packetOf({ ...common, from, to, flags: SEGMENT.FIN | SEGMENT.ACK });
  expect(packet.length).toBe(40);
  expect(Buffer.from(packet.subarray(0, 20)).toString('hex')).toBe('4500002800000000ff060000c0000201c0000202');
  const segment = packet.subarray(20);
  expect(Buffer.from(segment.subarray(0, 16)).toString('hex')).toBe('00501234fffffffe0000000250110000');
  expect(sumOf(from, to, new Uint8Array([0, 6, 0, 20]), segment)).toBe(0);
});

test('IPv6', () => {
  const from = new Uint8Array(16).fill(0x20);
  const to = new Uint8Array(16).fill(0x21);
  const packet = packetOf({ ...common, from, to, flags: SEGMENT.RST });
  expect(Buffer.from(packet.subarray(0, 8)).toString('hex')).toBe('60000000001406ff');
  expect(packet.subarray(8, 24)).toEqual(from);
  expect(sumOf(from, to, new Uint8Array([0, 0, 0, 20, 0, 0, 0, 6]), packet.subarray(40))).toBe(0);
});

test('options, a window and bytes', () => {
  const options = synOptions({ mss: 1460, scale: 7, sack: true, timestamps: true });
  expect(Buffer.from(options).toString('hex')).toBe('020405b401010402' + '0101080a0000000000000000' + '01030307');
  expect(synOptions({ mss: 536, scale: undefined, sack: false, timestamps: false }).length).toBe(4);
  const [from, to] = [new Uint8Array([192, 0, 2, 1]), new Uint8Array([192, 0, 2, 2])];
  const bytes = new TextEncoder().encode('odd');
  const packet = packetOf({ ...common, from, to, flags: SEGMENT.SYN, options, window: 0x1234, bytes });
  expect(packet.length).toBe(40 + options.length + 3);
  expect(packet[32]).toBe((20 + options.length) << 2);
  expect(Buffer.from(packet.subarray(34, 36)).toString('hex')).toBe('1234');
  expect(packet.subarray(40 + options.length)).toEqual(bytes);
  const length = packet.length - 20;
  expect(sumOf(from, to, new Uint8Array([0, 6, 0, length]), Uint8Array.of(...packet.subarray(20), 0))).toBe(0);
});
