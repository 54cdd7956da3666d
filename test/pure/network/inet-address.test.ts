/** Addresses of IP as people write them. */
import { describe, expect, test } from 'bun:test';
import { mappedOf, parseInetAddress } from '../../../src/network/inet-address.ts';

const hex = (text: string): string | undefined => {
  const bytes = parseInetAddress(text);
  return bytes && Buffer.from(bytes).toString('hex');
};

describe('addresses', () => {
  test('IPv4', () => {
    expect(hex('192.0.2.1')).toBe('c0000201');
    expect(hex('0.0.0.0')).toBe('00000000');
  });
  test('IPv6', () => {
    expect(hex('::')).toBe('0'.repeat(32));
    expect(hex('::1')).toBe(`${'0'.repeat(31)}1`);
    expect(hex('2001:db8::A:1')).toBe('20010db8000000000000000000' + '0a0001');
    expect(hex('1:2:3:4:5:6:7:8')).toBe('00010002000300040005000600070008');
    expect(hex('1::')).toBe(`0001${'0'.repeat(28)}`);
    expect(hex('64:ff9b::192.0.2.1')).toBe('0064ff9b0000000000000000c0000201');
  });
  test('IPv4 mapped into IPv6 is IPv4', () => {
    expect(hex('::ffff:192.0.2.1')).toBe('c0000201');
    expect(mappedOf(new Uint8Array(16))).toBeUndefined();
    expect(mappedOf(new Uint8Array(4))).toBeUndefined();
  });
  const bad = ['', '1.2.3', '1.2.3.4.5', '1.2.3.256', '01.2.3.4', 'a.b.c.d', ':', ':::', '1::2::3', '12345::', '::g'];
  test.each([...bad, '1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', '1:2:3:4:5:6:7::8', 'localhost', '::1%lo', '1.2.3.4::'])(
    '%p is none',
    (text) => {
      expect(parseInetAddress(text)).toBeUndefined();
    },
  );
});
