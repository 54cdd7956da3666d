import { expect, test } from 'bun:test';
import { decodeText } from '../../../src/base/text.ts';
import { NftBatch } from '../../../src/kernel/netlink/nftables.ts';
import { rulesOf } from '../../../src/kinds/tree/network-lock/iptables.ts';
import type { TcpConnection } from '../../../src/network/connections.ts';
import { addLock, lockTable } from '../../../src/network/lock-rules.ts';

const end = (address: number[], port: number): TcpConnection['local'] => {
  return { address: new Uint8Array(address), port: Uint8Array.of(port >> 8, port & 255) };
};
const four: TcpConnection = { network: 2, local: end([10, 0, 0, 1], 80), remote: end([10, 0, 0, 2], 40000), state: 1 };
const loopback = [...new Array<number>(15).fill(0), 1];
const six: TcpConnection = { network: 2, local: end(loopback, 80), remote: end(loopback, 40001), state: 1 };

test('rules of iptables are written as iptables-save writes them', () => {
  expect(rulesOf([four, six], 4)).toEqual([
    'INPUT -s 10.0.0.2/32 -d 10.0.0.1/32 -p tcp -m mark ! --mark 0xc114 -m tcp --sport 40000 --dport 80 -j DROP',
    'OUTPUT -s 10.0.0.1/32 -d 10.0.0.2/32 -p tcp -m mark ! --mark 0xc114 -m tcp --sport 80 --dport 40000 -j DROP',
  ]);
  expect(rulesOf([four, six], 16)[0]).toStartWith('INPUT -s ::1/128 -d ::1/128 -p tcp');
});

test('the name of a table is as long as CRIU can remember', () => {
  expect(lockTable('a9e08b2c-0087-4c49-ad36-2af793d5ab9d')).toBe('CRIU-a9e08b2c-0087-4c49-ad');
  expect(lockTable(17)).toBe('CRIU-17');
});

test('each direction of a connection is one key, also if both ends are in the tree', () => {
  const batch = new NftBatch();
  addLock(batch, 'mine', {}, [four, { ...four, local: four.remote, remote: four.local }]);
  const all = decodeText(Buffer.concat(batch.messages().map(({ payload }) => payload)));
  const count = (text: string): number => all.split(text).length - 1;
  expect(count('\n\0\0\u0002')).toBe(2);
  expect(count('conns4')).toBe(4); // the set, two rules, the keys
});

test('thousands of keys are several messages', () => {
  const keys = Array.from({ length: 1001 }, (_, i) => new Uint8Array(new Uint32Array([i]).buffer));
  expect(new NftBatch().addKeys('mine', 'set', keys).messages()).toHaveLength(5);
});
