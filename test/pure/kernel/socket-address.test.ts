import { describe, expect, test } from 'bun:test';
import { decodeSocketAddress, showSocketAddress, showUnixName } from '../../../src/kernel/socket-address.ts';

const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'));
const shown = (text: string): string | undefined => {
  const address = decodeSocketAddress(hex(text));
  return address && showSocketAddress(address);
};

describe('addresses', () => {
  test('IPv4', () => {
    expect(decodeSocketAddress(hex('0200 0050 7f000001 0000000000000000'))).toEqual({
      family: 'inet',
      address: '127.0.0.1',
      port: 80,
    });
    expect(shown('0200 ffff 00000000 0000000000000000')).toBe('0.0.0.0:65535');
  });

  test('IPv6, in its canonical form', () => {
    const inet6 = (address: string): string | undefined => shown(`0a00 01bb 00000000 ${address} 00000000`);
    expect(inet6('00000000000000000000000000000001')).toBe('[::1]:443');
    expect(inet6('00000000000000000000000000000000')).toBe('[::]:443');
    expect(inet6('20010db8000000000001000000000000')).toBe('[2001:db8:0:0:1::]:443');
    expect(inet6('20010db8000000010000000000000001')).toBe('[2001:db8:0:1::1]:443');
    expect(inet6('20010db8000000010001000000010001')).toBe('[2001:db8:0:1:1:0:1:1]:443');
    expect(inet6('fe800000000000000000000000000000')).toBe('[fe80::]:443');
    expect(inet6('00000000000000000000ffff7f000001')).toBe('[::ffff:127.0.0.1]:443');
  });

  test('unix: a path, an abstract name, none', () => {
    expect(shown(`0100 ${Buffer.from('/run/x\0').toString('hex')}`)).toBe('/run/x');
    expect(shown(`0100 00 ${Buffer.from('name').toString('hex')}`)).toBe('@name');
    expect(shown('0100')).toBeUndefined();
    expect(showUnixName(new Uint8Array(Buffer.from('/a\0\0')))).toBe('/a');
  });

  test('netlink, packet, vsock', () => {
    expect(shown('1000 0000 11000000 01000000')).toBe('port 17, groups 0x1');
    expect(shown('1100 0800 02000000 0000 00 00 0000000000000000')).toBe('network device 2, protocol 0x0800');
    expect(shown('2800 0000 d2040000 02000000 00000000')).toBe('cid 2, port 1234');
  });

  test('what is unknown or cut off is none', () => {
    expect(shown('6300 0000 00000000')).toBeUndefined();
    expect(shown('0a00 01bb 00000000')).toBeUndefined();
    expect(shown('')).toBeUndefined();
  });
});
