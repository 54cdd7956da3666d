import { describe, expect, test } from 'bun:test';
import { StasisError } from '../../../../src/base/errors.ts';
import { planTree, type TreeStep, type TreeTask } from '../../../../src/engine/tree-plan/plan-tree.ts';
import { PidPlaces } from '../../../../src/images/pid-places.ts';

/** Namespace 1 has the root, 2 is in it, 3 is in 2. */
function places(numbers: Readonly<Record<number, readonly number[]>>): PidPlaces {
  const inner = Object.entries(numbers).map(([first, further]) => {
    const list = [Number(first), ...further];
    return [Number(first), { namespace: list.length, numbers: list }] as const;
  });
  const parents = new Map([
    [2, 1],
    [3, 2],
  ]);
  return new PidPlaces(1, parents, new Map(inner));
}

function task(pid: number, ppid: number, pgid: number, sid: number): TreeTask {
  return { pid, ppid, pgid, sid, zombie: false, subreaper: false };
}

function say(step: TreeStep): string {
  switch (step.do) {
    case 'fork':
      return `${step.by} makes ${step.place?.numbers.join('/')}${step.helper ? '?' : ''}`;
    case 'setpgid':
      return `${step.by ?? step.pid} puts ${step.pid} into ${step.pgid}`;
    case 'end':
      return `${step.reaper} reaps ${step.pid}`;
    default:
      return `${step.pid} ${step.do}`;
  }
}

const SPARES = new Set([900, 901]) as Iterable<number, undefined>;

const plan = (tasks: readonly TreeTask[], where: PidPlaces): string[] =>
  planTree(tasks, { joins: false, places: where, sparePids: SPARES }).map(say);

describe('a tree in several PID namespaces', () => {
  test('a session and a group of outside are inherited', () => {
    // A job of a shell: unshare(1), the init that it has made, and a child of that.
    const tasks = [task(10, 0, 10, 10), task(11, 10, 11, 10), task(12, 11, 11, 10), task(13, 12, 11, 10)];
    expect(plan(tasks, places({ 12: [1], 13: [2] }))).toEqual([
      '10 setsid',
      '10 makes 11',
      '11 puts 11 into 11',
      '11 makes 12/1',
      '12 makes 13/2',
    ]);
  });

  test('the parent moves one that cannot name its group', () => {
    const tasks = [task(10, 0, 10, 10), task(11, 10, 11, 10), task(12, 10, 11, 10)];
    expect(plan(tasks, places({ 12: [1] }))).toEqual([
      '10 setsid',
      '10 makes 11',
      '11 puts 11 into 11',
      '10 makes 12/1',
      '10 puts 12 into 11',
    ]);
  });

  test('an orphan in a session whose leader is gone', () => {
    const tasks = [task(10, 0, 10, 10), task(11, 10, 11, 11), task(13, 11, 12, 12)];
    expect(plan(tasks, places({ 11: [1], 12: [2], 13: [3] }))).toEqual([
      '10 setsid',
      '10 makes 11/1',
      '11 setsid',
      '11 makes 12/2?',
      '12 setsid',
      '12 makes 13/3',
      '11 reaps 12',
    ]);
  });

  const impossible: readonly (readonly [string, readonly TreeTask[], PidPlaces])[] = [
    ['a namespace without an init', [task(10, 0, 10, 10), task(11, 10, 10, 10)], places({ 11: [2] })],
    [
      'a child further out than its parent',
      [task(10, 0, 10, 10), task(11, 10, 10, 10), task(12, 11, 10, 10)],
      places({ 11: [1] }),
    ],
    [
      'a group that neither a process nor its parent can name',
      [task(10, 0, 10, 10), task(11, 10, 10, 10), task(12, 11, 10, 10), task(13, 12, 14, 10), task(14, 10, 14, 10)],
      places({ 11: [1], 12: [2], 13: [3] }),
    ],
  ];
  test.each(impossible)('is refused: %s', (_, tasks, where) => {
    let found: unknown;
    try {
      plan(tasks, where);
    } catch (error) {
      found = error;
    }
    expect(found).toBeInstanceOf(StasisError);
    expect((found as StasisError).code).toBe('TREE_UNBUILDABLE');
  });
});

describe('numbers', () => {
  const where = places({ 11: [1], 12: [5, 1] });

  test('are told as somebody sees them', () => {
    expect([1, 2, 3].map((namespace) => where.numberIn(namespace, 12))).toEqual([12, 5, 1]);
    expect(where.numberIn(3, 11)).toBe(0);
    expect(where.numberIn(2, 10)).toBe(0);
    expect(where.numberIn(1, 10)).toBe(10);
  });
});
