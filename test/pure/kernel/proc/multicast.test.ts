import { expect, test } from 'bun:test';
import { parseIgmp, parseIgmp6 } from '../../../../src/kernel/proc/multicast.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

test('groups of IPv4', () => {
  const text = [
    'Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter',
    '1\tlo        :     1      V3',
    '\t\t\t\t010000E0     1 0:00000000\t\t0',
    '4\teth0      :     2      V3',
    '\t\t\t\tFB0000E0     2 0:00000000\t\t1',
    '\t\t\t\t010000E0     1 0:00000000\t\t0',
    '',
  ].join('\n');
  expect(parseIgmp(bytes(text))).toEqual([
    { device: 1, address: new Uint8Array([224, 0, 0, 1]), users: 1 },
    { device: 4, address: new Uint8Array([224, 0, 0, 251]), users: 2 },
    { device: 4, address: new Uint8Array([224, 0, 0, 1]), users: 1 },
  ]);
  expect(parseIgmp(bytes(''))).toEqual([]);
});

test('groups of IPv6', () => {
  const text = '4    eth0            ff0200000000000000000000000000fb     2 00000004 0\n';
  const [group, ...more] = parseIgmp6(bytes(text));
  expect(more).toEqual([]);
  expect(group?.device).toBe(4);
  expect(group?.users).toBe(2);
  expect(Array.from(group?.address ?? []).slice(0, 2)).toEqual([0xff, 0x02]);
  expect(group?.address[15]).toBe(0xfb);
});
