import { describe, expect, test } from 'bun:test';
import { checksum, encodeDatagram } from '../../../../src/kernel/layouts/ip-packet.ts';

const hex = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString('hex');

describe('packets of UDP', () => {
  test('the checksum of RFC 1071', () => {
    expect(checksum(new Uint8Array([0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]))).toBe(0x220d);
    expect(checksum(new Uint8Array([1]))).toBe(0xfeff);
  });

  test('over IPv4', () => {
    const packet = encodeDatagram({
      protocol: 17,
      source: { address: new Uint8Array([127, 0, 0, 1]), port: 53 },
      destination: { address: new Uint8Array([127, 0, 0, 2]), port: 1000 },
      ttl: 64,
      tos: 0,
      bytes: new Uint8Array([0x61, 0x62, 0x63]),
    });
    // The pseudo header 7f00 0001 7f00 0002 0011 000b, then 0035 03e8 000b and 6162 6300.
    const sum = 0x7f00 + 1 + 0x7f00 + 2 + 0x11 + 0xb + 0x35 + 0x3e8 + 0xb + 0x6162 + 0x6300;
    const folded = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
    expect(hex(packet)).toBe(
      `4500001f000000004011${'0000'}7f0000017f000002003503e8000b${folded.toString(16).padStart(4, '0')}616263`,
    );
  });

  test('over IPv6, with a traffic class', () => {
    const address = new Uint8Array(16).fill(1, 15);
    const end = { address, port: 7 };
    const packet = encodeDatagram({ protocol: 136, source: end, destination: end, ttl: 9, tos: 0x20, bytes: address });
    expect(hex(packet?.subarray(0, 8))).toBe('6200000000188809');
    expect(hex(packet?.subarray(40, 46))).toBe('000700070000');
    // All of it sums up to nothing.
    const pseudo = 2 + 136 + 24;
    expect(checksum(packet?.subarray(40) ?? new Uint8Array(), pseudo)).toBe(0);
  });

  test('a datagram that is too long for a packet', () => {
    const end = { address: new Uint8Array(4), port: 7 };
    const of = (length: number): Uint8Array | undefined =>
      encodeDatagram({ protocol: 17, source: end, destination: end, ttl: 1, tos: 0, bytes: new Uint8Array(length) });
    expect(of(65_507)?.length).toBe(65_535);
    expect(of(65_508)).toBeUndefined();
  });
});
