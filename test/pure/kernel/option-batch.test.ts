/** Options of sockets read in batches, against those read one by one. */
import { expect, test } from 'bun:test';
import { IP, TCP } from '../../../src/kernel/constants/inet.ts';
import { AF, IPPROTO, SO, SOCK, SOL_SOCKET } from '../../../src/kernel/constants/sockets.ts';
import { batchOf, OptionBatch } from '../../../src/kernel/option-batch.ts';
import { getNumber, setNumber, setOption } from '../../../src/kernel/sockets.ts';
import { Fd, syscall } from '../../../src/kernel/syscall.ts';

const BATCH = new OptionBatch({
  type: [SOL_SOCKET, SO.TYPE],
  device: [SOL_SOCKET, SO.BINDTODEVICE, 16],
  none: [IPPROTO.TCP, 9999],
  nodelay: [IPPROTO.TCP, TCP.NODELAY],
  congestion: [IPPROTO.TCP, TCP.CONGESTION, 16],
  buffer: [SOL_SOCKET, SO.RCVBUF],
});

const tcp = (): Fd => new Fd(syscall('socket', AF.INET, SOCK.STREAM | SOCK.CLOEXEC, 0));
const udp = (): Fd => new Fd(syscall('socket', AF.INET, SOCK.DGRAM | SOCK.CLOEXEC, 0));

test('of one socket after the other', () => {
  using stream = tcp();
  using datagram = udp();
  setNumber(stream.number, TCP.NODELAY, 1, IPPROTO.TCP);
  setNumber(stream.number, SO.RCVBUF, 50_000);
  setOption(stream.number, SO.BINDTODEVICE, new Uint8Array([0x6c, 0x6f, 0]));
  const read = BATCH.read(stream.number);
  expect(read.number('type')).toBe(SOCK.STREAM);
  expect(read.number('nodelay')).toBe(1);
  expect(read.number('buffer')).toBe(getNumber(stream.number, SO.RCVBUF));
  expect([...read.bytes('device')]).toEqual([0x6c, 0x6f, 0]);
  expect(read.bytes('congestion')).toHaveLength(16);
  BATCH.read(datagram.number);
  expect(read.number('type')).toBe(SOCK.DGRAM);
  expect(read.bytes('device')).toHaveLength(0);
  expect(read.numberIfAny('nodelay')).toBeUndefined();
});

test('what the kernel refuses', () => {
  using socket = tcp();
  const read = BATCH.read(socket.number);
  expect(read.numberIfAny('none')).toBeUndefined();
  expect(read.bytesIfAny('none')).toBeUndefined();
  expect(() => read.number('none')).toThrow('option 9999 of level 6');
  expect(() => read.bytes('none')).toThrow('ENOPROTOOPT');
});

test('those that have another value than new sockets', () => {
  const table = { ttl: [IP.TTL, 64], tos: [IP.TOS, 0], none: [9999, 0] } as const;
  const batch = batchOf(IPPROTO.IP, table);
  using socket = udp();
  expect(batch.read(socket.number).unusual(table)).toBeUndefined();
  setNumber(socket.number, IP.TTL, 9, IPPROTO.IP);
  expect(batch.read(socket.number).unusual(table)).toEqual({ ttl: 9 });
});
