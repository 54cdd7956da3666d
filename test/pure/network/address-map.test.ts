/** Addresses that are others after the restore. */
import { describe, expect, test } from 'bun:test';
import type { InetSkEntry } from '../../../src/images/schema/sockets.ts';
import { AF } from '../../../src/kernel/constants/sockets.ts';
import { AddressMap, parseInetEnd } from '../../../src/network/address-map.ts';
import { parseInetAddress } from '../../../src/network/inet-address.ts';

const words = (text: string, family: number = AF.INET): number[] => {
  const bytes = parseInetAddress(text) as Uint8Array;
  const whole = family === AF.INET6 && bytes.length === 4 ? [...new Array(10).fill(0), 0xff, 0xff, ...bytes] : bytes;
  return [...new Uint32Array(new Uint8Array(whole).buffer)];
};

function entry(family: number, from: string, fromPort: number, to: string, toPort: number): InetSkEntry {
  const ends = { src_addr: words(from, family), src_port: fromPort, dst_addr: words(to, family), dst_port: toPort };
  return { family, ...ends } as InetSkEntry;
}

describe('ends', () => {
  test('with and without a port', () => {
    expect(parseInetEnd('10.0.0.1')).toMatchObject({ port: undefined });
    expect(parseInetEnd('10.0.0.1:80')).toMatchObject({ port: 80 });
    expect(parseInetEnd('[::1]:80')).toMatchObject({ port: 80 });
    expect(parseInetEnd('[::1]')).toMatchObject({ port: undefined });
    expect(parseInetEnd('::1')).toMatchObject({ port: undefined });
  });
  test.each(['10.0.0.1:', '10.0.0.1:65536', '10.0.0.1:080', '10.0.0.1:a', '[::1]:', '[::1', 'host:80', ':80', ''])(
    '%p is none',
    (text) => {
      expect(parseInetEnd(text)).toBeUndefined();
    },
  );
});

describe('a map', () => {
  const map = new AddressMap(
    new Map([
      ['10.0.0.1', '10.0.0.9'],
      ['10.0.0.1:80', '10.0.0.8:8080'],
      ['[2001:db8::1]:80', '[2001:db8::2]:81'],
    ]),
  );
  test('changes both ends; one with a port counts more', () => {
    expect(map.apply(entry(AF.INET, '10.0.0.1', 80, '10.0.0.1', 81))).toEqual(
      entry(AF.INET, '10.0.0.8', 8080, '10.0.0.9', 81),
    );
  });
  test('knows addresses that are mapped into IPv6', () => {
    expect(map.apply(entry(AF.INET6, '10.0.0.1', 80, '10.0.0.7', 9))).toEqual(
      entry(AF.INET6, '10.0.0.8', 8080, '10.0.0.7', 9),
    );
  });
  test('IPv6', () => {
    expect(map.apply(entry(AF.INET6, '2001:db8::1', 80, '2001:db8::1', 82))).toEqual(
      entry(AF.INET6, '2001:db8::2', 81, '2001:db8::1', 82),
    );
  });
  test('leaves others alone', () => {
    const other = entry(AF.INET, '10.0.0.2', 80, '10.0.0.9', 81);
    expect(map.apply(other)).toEqual(other);
    expect(new AddressMap(new Map()).apply(other)).toBe(other);
  });
});
