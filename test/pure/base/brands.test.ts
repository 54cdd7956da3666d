import { expect, test } from 'bun:test';
import {
  type HostPid,
  hostPid,
  type LocalAddress,
  type LocalFd,
  localFd,
  type Milliseconds,
  type Nanoseconds,
  NO_FD,
  ownPid,
  type SavedPid,
  savedPid,
  type TaskNumber,
  taskFd,
} from '../../../src/base/brands.ts';

/** Each line with an expected error is one that the compiler has to refuse: `tsc` fails if it does not. */
test('numbers that are branded are not taken for one another', () => {
  const host = (pid: HostPid): number => pid;
  const saved = (pid: SavedPid): number => pid;
  const remote = (argument: TaskNumber): number => argument;
  const wait = (time: Milliseconds): number => time;
  const milliseconds: Milliseconds = 5;
  const nanoseconds: Nanoseconds = 5;
  const address = 4096 as LocalAddress;
  const fd: LocalFd = localFd(3);

  expect(host(hostPid(7))).toBe(7);
  expect(saved(savedPid(7))).toBe(7);
  expect(remote(taskFd(3)) + remote(12)).toBe(15);
  expect(wait(milliseconds) + wait(6)).toBe(11);
  // @ts-expect-error a plain number is no PID as long as nobody says so
  host(7);
  // @ts-expect-error the PID in an image is not the one we see
  host(savedPid(7));
  // @ts-expect-error and the other way round
  saved(hostPid(7));
  // @ts-expect-error a task knows nothing of our descriptors
  remote(fd);
  // @ts-expect-error nor of our memory
  remote(address);
  // @ts-expect-error times have a unit
  wait(nanoseconds);
});

test('at run time they are the plain numbers', () => {
  const plain: number[] = [ownPid(), hostPid(1), savedPid(2), localFd(3), taskFd(4), NO_FD];
  expect(plain).toEqual([process.pid, 1, 2, 3, 4, -1]);
});
