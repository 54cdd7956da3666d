import { describe, expect, test } from 'bun:test';
import { NdType, type NetDeviceEntry } from '../../../../src/images/schema/network.ts';
import { encodeAttributes, u32Bytes } from '../../../../src/kernel/netlink/attributes.ts';
import { externalDevices } from '../../../../src/namespaces/net/externals.ts';
import type { SavedLink } from '../../../../src/namespaces/net/saved-network.ts';
import { isReady, type PlannedLink, wayOf } from '../../../../src/namespaces/net/ways.ts';

const NONE = externalDevices([]);

function saved(kind: string | undefined, entry: Partial<NetDeviceEntry> = {}, data?: Uint8Array): SavedLink {
  const base = { type: NdType.EXTLINK, ifindex: 4, mtu: 1500, flags: 0, name: 'd0' };
  return {
    entry: { ...base, ...entry } as NetDeviceEntry,
    own: { index: 4, ...(kind ? { kind } : {}), ...(data ? { data: Buffer.from(data).toString('base64') } : {}) },
    kind,
  };
}

describe('keys of --external', () => {
  test('that are about network devices', () => {
    const found = externalDevices([
      'veth[eth0]:out@br0',
      'veth[eth1]:x',
      'macvlan[m]:lower',
      'netdev[a]:b',
      'netdev[c]',
      'mnt[/x]:y',
    ]);
    expect([...found.veth]).toEqual([
      ['eth0', { name: 'out', bridge: 'br0' }],
      ['eth1', { name: 'x', bridge: undefined }],
    ]);
    expect([...found.macvlan]).toEqual([['m', 'lower']]);
    expect([...found.netdev]).toEqual([
      ['a', 'b'],
      ['c', ''],
    ]);
  });
});

describe('the way in which a device is made', () => {
  test('a pair: with its other end in the tree, or outside under a name', () => {
    const inside = saved('veth', { peer_ifindex: 3, peer_nsid: 9 });
    expect(wayOf(inside, 9, NONE)).toEqual({ how: 'pair', peer: { namespace: 9, index: 3 } });
    const outside = saved('veth', { peer_ifindex: 3 });
    expect(wayOf(outside, 9, externalDevices(['veth[d0]:o@b']))).toEqual({
      how: 'outer-pair',
      outer: { name: 'o', bridge: 'b' },
    });
    expect(() => wayOf(outside, 9, NONE)).toThrow('network device d0: its other end is outside of the tree');
  });

  test('a stacked one: on a device of the tree, or on one outside', () => {
    expect(wayOf(saved('vlan', { peer_ifindex: 3, peer_nsid: 10 }), 9, NONE)).toEqual({
      how: 'request',
      lower: { namespace: 10, index: 3 },
    });
    expect(wayOf(saved('macvlan', { peer_ifindex: 3 }), 9, externalDevices(['macvlan[d0]:eth0']))).toEqual({
      how: 'on-outer',
      lower: 'eth0',
    });
    expect(() => wayOf(saved('macvlan', { peer_ifindex: 3 }), 9, NONE)).toThrow('stacked on is outside of the tree');
  });

  test('a tunnel waits for the device its data names', () => {
    const data = encodeAttributes([[3, u32Bytes(6)]]);
    expect(wayOf(saved('vxlan', { peer_ifindex: 4, peer_nsid: 9 }, data), 9, NONE)).toEqual({
      how: 'request',
      lower: { namespace: 9, index: 6 },
    });
    expect(wayOf(saved('vxlan', { peer_ifindex: 4, peer_nsid: 9 }), 9, NONE)).toEqual({
      how: 'request',
      lower: undefined,
    });
  });

  test('any device may be moved in; lo and external ones are there', () => {
    expect(wayOf(saved('dummy'), 9, externalDevices(['netdev[d0]:eth5']))).toEqual({ how: 'move', from: 'eth5' });
    expect(wayOf(saved(undefined), 9, NONE)).toEqual({ how: 'present' });
    expect(wayOf(saved('tun'), 9, NONE)).toEqual({ how: 'tun' });
  });
});

test('a device waits for the namespace of its other end, or for the device it is stacked on', () => {
  const planned = (way: PlannedLink['way']): PlannedLink => ({
    link: saved('veth'),
    way,
    ref: { namespace: 9, index: 4 },
  });
  const there = (namespaces: readonly number[], devices: readonly string[]) => ({
    namespace: (id: number) => namespaces.includes(id),
    device: ({ namespace, index }: { namespace: number; index: number }) => devices.includes(`${namespace}/${index}`),
  });
  const pair = planned({ how: 'pair', peer: { namespace: 10, index: 3 } });
  expect(isReady(pair, there([9], []))).toBe(false);
  expect(isReady(pair, there([9, 10], []))).toBe(true);
  const stacked = planned({ how: 'request', lower: { namespace: 10, index: 3 } });
  expect(isReady(stacked, there([9, 10], []))).toBe(false);
  expect(isReady(stacked, there([9, 10], ['10/3']))).toBe(true);
  expect(isReady(planned({ how: 'request', lower: undefined }), there([9], []))).toBe(true);
});
