/** Addresses in images. */
import { describe, expect, test } from 'bun:test';
import type { InetSkEntry } from '../../../src/images/schema/sockets.ts';
import { AF } from '../../../src/kernel/constants/sockets.ts';
import { endOf, fieldsOf, isAny, needsDevice, showEnd, sockaddrOf } from '../../../src/network/end-fields.ts';

const v4 = new Uint8Array([2, 0, 0x1f, 0x90, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);

describe('an address', () => {
  test('goes into the fields and back', () => {
    const fields = endOf(AF.INET, v4);
    expect(fields).toEqual({ port: 8080, words: [0x0100007f] });
    expect(sockaddrOf(AF.INET, fields)).toEqual(v4);
    expect(showEnd(AF.INET, fields)).toBe('127.0.0.1:8080');
    expect(isAny(fields)).toBe(false);
  });
  test('of IPv6, with its device', () => {
    const bytes = new Uint8Array(28);
    bytes.set([10, 0, 0, 80]);
    bytes.set([0xfe, 0x80], 8);
    bytes[23] = 9;
    const fields = endOf(AF.INET6, bytes);
    expect(needsDevice(AF.INET6, fields)).toBe(true);
    bytes[24] = 7;
    expect(sockaddrOf(AF.INET6, fields, 7)).toEqual(bytes);
  });
  test('is none', () => {
    expect(endOf(AF.INET, undefined)).toEqual({ port: 0, words: [0] });
    expect(endOf(AF.INET6, v4)).toEqual({ port: 0, words: [0, 0, 0, 0] });
    expect(isAny(endOf(AF.INET6, undefined))).toBe(true);
  });
  test('of an image that is damaged', () => {
    const entry = { family: AF.INET6, ino: 5, src_port: 80, src_addr: [1], dst_port: 70000, dst_addr: [0, 0, 0, 0] };
    for (const end of ['source', 'destination'] as const) {
      expect(() => fieldsOf(entry as unknown as InetSkEntry, end)).toThrow(/socket:\[5\]: its .* is no address/);
    }
  });
});
