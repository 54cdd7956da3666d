import { expect, test } from 'bun:test';
import { planWatches } from '../../../../src/kinds/file/epoll/stale.ts';

const watch = (tfd: number, data: bigint) => ({ tfd, events: 1, data });

test('a watch goes under its file’s number, under the one it was added as, or under any', () => {
  const targets = [watch(6, 1n), watch(6, 2n), watch(7, 3n), watch(7, 4n), watch(7, 5n)];
  const planned = planWatches(targets, new Map([[0, 5]]));
  expect(planned.map(({ fd, number }) => [fd, number])).toEqual([
    [6, 5],
    [6, 'own'],
    [7, 'own'],
    [7, 'any'],
    [7, 'any'],
  ]);
  expect(planned.map(({ event }) => event.data)).toEqual([1n, 2n, 3n, 4n, 5n]);
});
