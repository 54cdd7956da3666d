import { describe, expect, test } from 'bun:test';
import { cstring } from '../../../../src/base/text.ts';
import { readImage, writeImage } from '../../../../src/images/image.ts';
import { Images } from '../../../../src/images/kinds.ts';
import { NdType } from '../../../../src/images/schema/network.ts';
import { ARPHRD, IFF_LINK, IFLA, IFLA_INFO } from '../../../../src/kernel/constants/rtnetlink.ts';
import { Ifinfomsg } from '../../../../src/kernel/layouts/rtnetlink.ts';
import type { Attributes } from '../../../../src/kernel/netlink/attributes.ts';
import { decodeAttributes, encodeAttributes, u32Bytes } from '../../../../src/kernel/netlink/attributes.ts';
import { payloadOf } from '../../../../src/kernel/netlink/rtnetlink.ts';
import { changedSlaveData, lowerInData, settableData } from '../../../../src/namespaces/net/link-kinds.ts';
import { decodeLink, isUnusedFallback, type Link } from '../../../../src/namespaces/net/links.ts';
import { obstacleOfLink, queueNotices } from '../../../../src/namespaces/net/obstacles.ts';
import { dataOfEntry, entryOfLink, kindOfEntry } from '../../../../src/namespaces/net/saved-links.ts';
import { tunFlags } from '../../../../src/namespaces/net/tun-links.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const types = (bytes: Uint8Array): number[] => [...decodeAttributes(bytes).keys()];

/** A link as the kernel tells of it. */
function link(
  kind: string | undefined,
  data: Attributes = [],
  more: Attributes = [],
  type: number = ARPHRD.ETHER,
): Link {
  const info: Attributes =
    kind === undefined
      ? []
      : [
          [IFLA_INFO.KIND, cstring(kind)],
          [IFLA_INFO.DATA, encodeAttributes(data)],
        ];
  return decodeLink(
    payloadOf(Ifinfomsg, { index: 7, type, flags: IFF_LINK.UP }, [
      [IFLA.IFNAME, cstring('d0')],
      [IFLA.MTU, u32Bytes(1400)],
      [IFLA.ADDRESS, Uint8Array.of(2, 0, 0, 0, 0, 1)],
      [IFLA.LINKINFO, encodeAttributes(info)],
      ...more,
    ]),
  );
}

describe('a link', () => {
  test('as rtnetlink tells of it', () => {
    const seen = link(
      'macvlan',
      [[1, u32Bytes(4)]],
      [
        [IFLA.LINK, u32Bytes(3)],
        [IFLA.LINK_NETNSID, u32Bytes(5)],
        [IFLA.MASTER, u32Bytes(9)],
      ],
    );
    expect(seen).toMatchObject({ index: 7, name: 'd0', kind: 'macvlan', mtu: 1400, lower: 3, lowerNsid: 5, master: 9 });
    expect(link(undefined)).toMatchObject({ kind: undefined, lower: undefined, lowerNsid: undefined, hasXdp: false });
  });

  test('a device that is tied to none has no lower one', () => {
    expect(link('vxlan', [], [[IFLA.LINK, u32Bytes(0)]]).lower).toBeUndefined();
  });

  test('devices that a module puts everywhere are passed over unless they are in use', () => {
    const sit0 = { ...link('sit'), name: 'sit0', flags: 0 };
    expect(isUnusedFallback(sit0)).toBe(true);
    expect(isUnusedFallback({ ...sit0, flags: IFF_LINK.UP })).toBe(false);
    expect(isUnusedFallback({ ...sit0, name: 'sit1' })).toBe(false);
  });
});

describe('an entry of netdev', () => {
  const idOf = (nsid: number): number | undefined => (nsid === 5 ? 12 : undefined);

  test('the other end of a pair is in the same namespace, in another one, or outside', () => {
    const peer = (nsid?: number): (number | undefined)[] => {
      const more: Attributes = nsid === undefined ? [] : [[IFLA.LINK_NETNSID, u32Bytes(nsid)]];
      const entry = entryOfLink(link('veth', [], [[IFLA.LINK, u32Bytes(3)], ...more]), 9, idOf);
      return [entry.type, entry.peer_ifindex, entry.peer_nsid];
    };
    expect(peer()).toEqual([NdType.VETH, 3, 9]);
    expect(peer(5)).toEqual([NdType.VETH, 3, 12]);
    expect(peer(6)).toEqual([NdType.VETH, 3, undefined]);
  });

  test('lo has no address; a kind that criu does not know is an external device for it', () => {
    expect(entryOfLink(link(undefined, [], [], ARPHRD.LOOPBACK), 9, idOf)).toMatchObject({
      type: NdType.LOOPBACK,
      address: undefined,
    });
    expect(entryOfLink(link('vxlan'), 9, idOf).type).toBe(NdType.EXTLINK);
  });

  /** The data of a device after a way through an image. */
  function throughImage(seen: Link): Uint8Array {
    const bytes = writeImage(Images.netdev, [entryOfLink(seen, 9, idOf)], 'netdev-9.img');
    const [entry] = readImage(Images.netdev, 'netdev-9.img', bytes, {});
    if (!entry) throw new Error('no entry');
    expect(kindOfEntry(entry)).toBe(seen.kind);
    return dataOfEntry(entry);
  }

  test('macvlan keeps its mode and its flags', () => {
    const data: Attributes = [
      [1, u32Bytes(4)],
      [2, Uint8Array.of(1, 0)],
    ];
    expect(hex(throughImage(link('macvlan', data)))).toBe(hex(encodeAttributes(data)));
  });

  test('sit keeps its ends, numbers and prefixes', () => {
    const data: Attributes = [
      [2, Uint8Array.of(10, 0, 0, 1)],
      [3, Uint8Array.of(10, 0, 0, 2)],
      [4, Uint8Array.of(64)],
      [8, Uint8Array.of(1, 2)],
      [10, Uint8Array.of(1)],
      [11, new Uint8Array(16).fill(0x20)],
      [13, Uint8Array.of(16, 0)],
      [14, Uint8Array.of(0, 0)],
      [12, Uint8Array.of(0, 0, 0, 0)],
    ];
    const back = decodeAttributes(throughImage(link('sit', data, [], 776)));
    for (const type of [2, 3, 4, 8, 10, 11, 13]) {
      expect({ type, value: hex(back.get(type) ?? new Uint8Array()) }).toEqual({
        type,
        value: hex(decodeAttributes(encodeAttributes(data)).get(type) ?? new Uint8Array()),
      });
    }
    expect(back.has(14)).toBe(false); // no relay
  });
});

describe('what a request for a new device has', () => {
  test('a bridge: no state; only what is on of what the kernel may be built without', () => {
    const data = encodeAttributes([
      [1, u32Bytes(500)],
      [7, Uint8Array.of(0)],
      [10, new Uint8Array(8)],
      [46, new Uint8Array(new Uint32Array([2, 31]).buffer)],
    ]);
    const settable = settableData('bridge', data);
    expect(types(settable)).toEqual([1, 46]);
    expect(hex(decodeAttributes(settable).get(46) ?? new Uint8Array())).toBe('0200000002000000');
    expect(
      types(
        settableData(
          'bridge',
          encodeAttributes([
            [7, Uint8Array.of(1)],
            [46, new Uint8Array(8)],
          ]),
        ),
      ),
    ).toEqual([7]);
  });

  test('vxlan: an attribute without a value, and bits that are not in use', () => {
    const data = encodeAttributes([
      [1, u32Bytes(5)],
      [21, Uint8Array.of(0)],
      [22, Uint8Array.of(1)],
      [28, Uint8Array.of(1)],
    ]);
    const settable = settableData('vxlan', data);
    expect(types(settable)).toEqual([1, 22, 28]);
    expect(decodeAttributes(settable).get(28)).toHaveLength(0);
    expect(types(settableData('vxlan', encodeAttributes([[28, Uint8Array.of(0)]])))).toEqual([]);
  });

  test('a bond: what its mode has, and delays that are not 0', () => {
    const of = (mode: number) =>
      types(
        settableData(
          'bond',
          encodeAttributes([
            [1, Uint8Array.of(mode)],
            [2, u32Bytes(3)],
            [3, u32Bytes(100)],
            [4, u32Bytes(0)],
            [7, u32Bytes(50)],
            [19, u32Bytes(1)],
            [21, Uint8Array.of(0)],
            [23, new Uint8Array(4)],
            [27, Uint8Array.of(1)],
          ]),
        ),
      );
    expect(of(0)).toEqual([1, 3, 7, 19]);
    expect(of(4)).toEqual([1, 3, 21]);
    expect(of(6)).toEqual([1, 3, 27]);
  });

  test('a port: what differs and can be set', () => {
    const wanted = encodeAttributes([
      [1, Uint8Array.of(3)],
      [3, u32Bytes(2)],
      [4, Uint8Array.of(1)],
    ]);
    expect(
      changedSlaveData(
        'bridge',
        wanted,
        encodeAttributes([
          [1, Uint8Array.of(0)],
          [3, u32Bytes(2)],
          [4, Uint8Array.of(0)],
        ]),
      ),
    ).toEqual(encodeAttributes([[4, Uint8Array.of(1)]]));
    expect(changedSlaveData('bridge', wanted, wanted)).toBeUndefined();
  });

  test('the device that a tunnel leaves by', () => {
    expect(lowerInData('vxlan', encodeAttributes([[3, u32Bytes(4)]]))).toBe(4);
    expect(lowerInData('gre', encodeAttributes([[1, u32Bytes(6)]]))).toBe(6);
    expect(lowerInData('gre', encodeAttributes([[1, u32Bytes(0)]]))).toBeUndefined();
    expect(lowerInData('bridge', encodeAttributes([[1, u32Bytes(6)]]))).toBeUndefined();
  });

  test('the flags of a tun device', () => {
    expect(
      tunFlags(
        encodeAttributes([
          [3, Uint8Array.of(1)],
          [4, Uint8Array.of(0)],
          [6, Uint8Array.of(1)],
        ]),
      ),
    ).toBe(0x1801);
    expect(
      tunFlags(
        encodeAttributes([
          [3, Uint8Array.of(2)],
          [4, Uint8Array.of(1)],
          [5, Uint8Array.of(1)],
          [7, Uint8Array.of(1)],
        ]),
      ),
    ).toBe(0x4102);
  });
});

describe('obstacles and notices', () => {
  const none: ReadonlySet<string> = new Set();

  test('devices that cannot be made again, by name, with what helps', () => {
    const hardware = obstacleOfLink(link(undefined), { ino: 1 }, none);
    expect(hardware).toMatchObject({ code: 'NETWORK_DEVICE', resource: 'network device d0' });
    expect(hardware?.remedy).toContain("--external 'netdev[d0]'");
    expect(obstacleOfLink(link('wireguard'), { ino: 1 }, none)?.reason).toContain('of the kind wireguard');
    const xdp = link('veth', [], [[IFLA.XDP, encodeAttributes([[2, Uint8Array.of(1)]])]]);
    expect(obstacleOfLink(xdp, { ino: 1 }, none)?.remedy).toContain('xdp off');
  });

  test('none for those that are carried, and those that are said to be external', () => {
    expect(obstacleOfLink(link('veth'), { ino: 1 }, none)).toBeUndefined();
    expect(obstacleOfLink(link(undefined, [], [], ARPHRD.LOOPBACK), { ino: 1 }, none)).toBeUndefined();
    expect(obstacleOfLink(link('wireguard'), { ino: 1 }, new Set(['d0']))).toBeUndefined();
  });

  test('a queueing discipline is told with its device', () => {
    const [notice] = queueNotices([{ index: 7, kind: 'htb' }], [link('veth')]);
    expect(notice?.resource).toBe('network device d0');
    expect(notice?.reason).toContain('htb');
  });
});
