import { describe, expect, test } from 'bun:test';
import { cstring } from '../../../../src/base/text.ts';
import { CTA, CTA_PROTOINFO, CTA_PROTOINFO_TCP } from '../../../../src/kernel/constants/conntrack.ts';
import {
  NFNL_SUBSYS_NFTABLES,
  NFT_MSG,
  NFT_TABLE_F,
  NFTA_SET,
  NFTA_TABLE,
} from '../../../../src/kernel/constants/nftables.ts';
import { IFA, RTA, RTNH_F } from '../../../../src/kernel/constants/rtnetlink.ts';
import { AF } from '../../../../src/kernel/constants/sockets.ts';
import { Nfgenmsg } from '../../../../src/kernel/layouts/netlink.ts';
import { Ifaddrmsg, Rtmsg } from '../../../../src/kernel/layouts/rtnetlink.ts';
import type { Attributes } from '../../../../src/kernel/netlink/attributes.ts';
import { encodeAttributes, u32Bytes } from '../../../../src/kernel/netlink/attributes.ts';
import type { NetlinkMessage } from '../../../../src/kernel/netlink/message.ts';
import { attributesOf, payloadOf, withoutAttributes } from '../../../../src/kernel/netlink/rtnetlink.ts';
import { liberal } from '../../../../src/namespaces/net/conntrack.ts';
import { emptied, hasRules, withoutLockChain, withoutLockTable } from '../../../../src/namespaces/net/filter-texts.ts';
import { ownedTables, rulesetRequests } from '../../../../src/namespaces/net/nftables.ts';
import {
  addressKey,
  difference,
  inOrderOfAdding,
  routeKey,
  routeRequest,
} from '../../../../src/namespaces/net/reconcile.ts';
import { decodeStream, encodeStream, STREAM_MAGIC } from '../../../../src/namespaces/net/streams.ts';

const message = (payload: Uint8Array, type = 20): NetlinkMessage => ({ type, flags: 0, sequence: 0, payload });
const address = (family: number, last: number, more: Attributes = []): NetlinkMessage =>
  message(
    payloadOf(Ifaddrmsg, { family, prefix: 24, index: 3 }, [[IFA.ADDRESS, Uint8Array.of(10, 0, 0, last)], ...more]),
  );

describe('streams', () => {
  test('begin with the number of `ip addr save`, and are read again', () => {
    const bytes = encodeStream(STREAM_MAGIC.addresses, [address(AF.INET, 1), address(AF.INET, 2)]);
    expect(Buffer.from(bytes.subarray(0, 4)).toString('hex')).toBe('22123647');
    expect(decodeStream(STREAM_MAGIC.addresses, bytes, 'ifaddr-9.img').map(({ payload }) => payload[11])).toHaveLength(
      2,
    );
    expect(decodeStream(STREAM_MAGIC.addresses, undefined, 'ifaddr-9.img')).toEqual([]);
    expect(decodeStream(STREAM_MAGIC.addresses, new Uint8Array(), 'ifaddr-9.img')).toEqual([]);
  });

  test('that are damaged are refused by name', () => {
    const bytes = encodeStream(STREAM_MAGIC.routes, [address(AF.INET, 1)]);
    expect(() => decodeStream(STREAM_MAGIC.addresses, bytes, 'ifaddr-9.img')).toThrow('ifaddr-9.img: damaged');
    expect(() => decodeStream(STREAM_MAGIC.routes, bytes.subarray(0, 15), 'route-9.img')).toThrow('cut off');
    expect(() => decodeStream(STREAM_MAGIC.routes, bytes.subarray(0, 3), 'route-9.img')).toThrow('damaged');
  });
});

describe('what is there and what is to be', () => {
  test('an address is the same whatever its lifetime', () => {
    const old = address(AF.INET, 1, [[IFA.CACHEINFO, new Uint8Array(16)]]);
    const { surplus, missing } = difference(
      [address(AF.INET, 1), address(AF.INET, 2)],
      [old, address(AF.INET, 9)],
      addressKey,
    );
    expect(
      [surplus, missing].map((list) =>
        list.map(({ payload }) => attributesOf(Ifaddrmsg, payload).get(IFA.ADDRESS)?.[3]),
      ),
    ).toEqual([[9], [2]]);
  });

  test('addresses of IPv6 are listed with the newest first', () => {
    const order = inOrderOfAdding([
      address(AF.INET6, 1),
      address(AF.INET, 2),
      address(AF.INET6, 3),
      address(AF.INET, 4),
    ]);
    expect(order.map(({ payload }) => attributesOf(Ifaddrmsg, payload).get(IFA.ADDRESS)?.[3])).toEqual([2, 4, 3, 1]);
  });

  test('a route is asked for without its state, with the time it has left', () => {
    const cache = new Uint8Array(new Uint32Array([0, 0, 12345, 0, 0, 0, 0, 0]).buffer);
    const told = payloadOf(Rtmsg, { family: AF.INET6, flags: RTNH_F.LINKDOWN | RTNH_F.ONLINK }, [
      [RTA.OIF, u32Bytes(3)],
      [RTA.CACHEINFO, cache],
    ]);
    const request = routeRequest(told);
    expect(Rtmsg.decode(request).flags).toBe(RTNH_F.ONLINK);
    expect([...attributesOf(Rtmsg, request).keys()]).toEqual([RTA.OIF, RTA.EXPIRES]);
    expect(attributesOf(Rtmsg, request).get(RTA.EXPIRES)).toEqual(u32Bytes(124));
    expect(routeKey(told)).toBe(
      routeKey(payloadOf(Rtmsg, { family: AF.INET6, flags: RTNH_F.ONLINK }, [[RTA.OIF, u32Bytes(3)]])),
    );
  });

  test('a route with a nexthop of its own has its way from that', () => {
    const request = routeRequest(
      payloadOf(Rtmsg, {}, [
        [RTA.OIF, u32Bytes(3)],
        [RTA.GATEWAY, u32Bytes(1)],
        [RTA.NH_ID, u32Bytes(5)],
      ]),
    );
    expect([...attributesOf(Rtmsg, request).keys()]).toEqual([RTA.NH_ID]);
  });

  test('attributes that are kept keep the bits of their types', () => {
    const nested = 0x8000 | RTA.ENCAP;
    const payload = payloadOf(Rtmsg, {}, [
      [RTA.OIF, u32Bytes(3)],
      [nested, u32Bytes(1)],
    ]);
    const kept = withoutAttributes(Rtmsg, payload, new Set([RTA.OIF]));
    expect(Buffer.from(kept.subarray(Rtmsg.size, Rtmsg.size + 4)).toString('hex')).toBe('08001680');
  });
});

describe('nf_tables', () => {
  const told = (type: number, name: string, attributes: Attributes = []): NetlinkMessage =>
    message(
      payloadOf(Nfgenmsg, { family: 1 }, [[1, cstring(name)], ...attributes]),
      (NFNL_SUBSYS_NFTABLES << 8) | type,
    );
  const owned: Attributes = [[NFTA_TABLE.FLAGS, Uint8Array.of(0, 0, 0, NFT_TABLE_F.OWNER)]];

  test('requests are one batch; sets get numbers, what only answers have is left out', () => {
    const requests = rulesetRequests([
      told(NFT_MSG.NEWTABLE, 't', [[NFTA_TABLE.USE, u32Bytes(3)]]),
      told(NFT_MSG.NEWSET, 't', [[NFTA_SET.HANDLE, new Uint8Array(8)]]),
      told(NFT_MSG.NEWSET, 't'),
    ]);
    expect(requests.map(({ type }) => type & 0xff)).toEqual([
      0x10,
      NFT_MSG.NEWTABLE,
      NFT_MSG.NEWSET,
      NFT_MSG.NEWSET,
      0x11,
    ]);
    const [, table, first, second] = requests.map(({ payload }) => attributesOf(Nfgenmsg, payload));
    expect(table?.has(NFTA_TABLE.USE)).toBe(false);
    expect(first?.has(NFTA_SET.HANDLE)).toBe(false);
    expect([first, second].map((set) => set?.get(NFTA_SET.ID)?.[3])).toEqual([1, 2]);
  });

  test('tables of a socket, and the lock of a dump, are left out with all that is in them', () => {
    const ruleset = [
      told(NFT_MSG.NEWTABLE, 'mine', owned),
      told(NFT_MSG.NEWTABLE, 'CRIU-12', owned),
      told(NFT_MSG.NEWCHAIN, 'mine'),
      told(NFT_MSG.NEWRULE, 'CRIU-12'),
    ];
    expect(rulesetRequests(ruleset)).toEqual([]);
    expect(ownedTables(ruleset)).toEqual(['mine']);
  });
});

describe('texts of filters', () => {
  test('a namespace without rules', () => {
    expect(hasRules('*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n')).toBe(false);
    expect(hasRules('')).toBe(false);
    for (const line of [':INPUT DROP [0:0]', ':own - [0:0]', '-A INPUT -j ACCEPT'])
      expect(hasRules(`*filter\n${line}\nCOMMIT\n`)).toBe(true);
  });

  test('what empties a table', () => {
    const saved =
      '# by\n*filter\n:INPUT DROP [3:180]\n:own - [0:0]\n-A INPUT -j own\nCOMMIT\n*nat\n:INPUT ACCEPT [0:0]\nCOMMIT\n';
    expect(emptied(saved)).toBe('*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n*nat\n:INPUT ACCEPT [0:0]\nCOMMIT\n');
  });

  test('the lock of a dump by criu is taken out', () => {
    const saved =
      '*filter\n:INPUT ACCEPT [0:0]\n:CRIU - [0:0]\n-A INPUT -j CRIU\n-A INPUT -s 1.1.1.1/32 -j DROP\n-A CRIU -j DROP\nCOMMIT\n';
    expect(withoutLockChain(saved)).toBe('*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -s 1.1.1.1/32 -j DROP\nCOMMIT\n');
    const chains =
      'table ip filter {\n\tchain CRIU {\n\t\tcounter drop\n\t}\n\n\tchain INPUT {\n\t\tcounter jump CRIU\n\t\taccept\n\t}\n}\n';
    expect(withoutLockTable(chains)).toBe('table ip filter {\n\tchain INPUT {\n\t\taccept\n\t}\n}\n');
    const table = (name: string): string => `table inet ${name} {\n\tchain input {\n\t\tpolicy drop;\n\t}\n}\n`;
    expect(withoutLockTable(`${table('a')}${table('CRIU-77')}${table('b')}`)).toBe(`${table('a')}${table('b')}`);
  });
});

test('tracked connections of TCP are told not to mind sequence numbers', () => {
  const tcp = encodeAttributes([
    [CTA_PROTOINFO_TCP.FLAGS_ORIGINAL, Uint8Array.of(3, 0)],
    [CTA_PROTOINFO_TCP.FLAGS_REPLY, Uint8Array.of(0, 0)],
  ]);
  const entry = payloadOf(Nfgenmsg, { family: AF.INET }, [
    [CTA.PROTOINFO, encodeAttributes([[CTA_PROTOINFO.TCP, tcp]])],
  ]);
  const asked = attributesOf(Nfgenmsg, liberal(entry)).get(CTA.PROTOINFO);
  const changed = encodeAttributes([
    [CTA_PROTOINFO_TCP.FLAGS_ORIGINAL, Uint8Array.of(11, 8)],
    [CTA_PROTOINFO_TCP.FLAGS_REPLY, Uint8Array.of(8, 8)],
  ]);
  expect(asked).toEqual(encodeAttributes([[CTA_PROTOINFO.TCP, changed]]));
  const udp = payloadOf(Nfgenmsg, { family: AF.INET });
  expect(liberal(udp)).toEqual(udp);
});
