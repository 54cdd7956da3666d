import { describe, expect, test } from 'bun:test';
import { StasisError } from '../../../../src/base/errors.ts';
import { claimsOf } from '../../../../src/engine/tree-plan/claims.ts';
import { type Planting, planTree, type TreeStep, type TreeTask } from '../../../../src/engine/tree-plan/plan-tree.ts';
import { comparable, generator, JOB, randomTree, restlessTree, simulate } from './tree-model.ts';

const ALONE: Planting = { joins: false };
const SPARES = new Set([99, 98]) as Iterable<number, undefined>;
const JOINS: Planting = { joins: true, bornPgid: JOB };

/** A task with nothing special; in the session and the group of task 10, the root of most trees here. */
function task(pid: number, ppid: number, rest: Partial<TreeTask> = {}): TreeTask {
  return { pid, ppid, pgid: 10, sid: 10, zombie: false, subreaper: false, ...rest };
}

/** One that leads its session. */
function leader(pid: number, ppid: number, rest: Partial<TreeTask> = {}): TreeTask {
  return task(pid, ppid, { pgid: pid, sid: pid, ...rest });
}

function sharing(vm: number, sighand: number, files: number, fs: number): Partial<TreeTask> {
  return { shared: { vm, sighand, files, fs } };
}

/** A plan that makes the tree: the steps in short. */
function plan(tasks: readonly TreeTask[], planting: Planting = ALONE): string[] {
  const steps = planTree(tasks, planting);
  const made = simulate(steps, tasks, planting);
  const bare = (all: readonly TreeTask[]) => comparable(all.map((each) => ({ ...each, shared: undefined })));
  expect(bare(made)).toEqual(bare(tasks));
  for (const one of tasks) {
    for (const two of tasks) expect(inCommon(made, one, two)).toEqual(inCommon(tasks, one, two));
  }
  return steps.map(short);
}

/** What two tasks share. */
function inCommon(tasks: readonly TreeTask[], { pid, shared }: TreeTask, other: TreeTask): string[] {
  if (!shared || !other.shared) return [];
  const [a, b] = [pid, other.pid].map((each) => tasks.find((one) => one.pid === each)?.shared);
  return (['vm', 'sighand', 'files', 'fs'] as const).filter((kind) => a?.[kind] === b?.[kind]);
}

function short(step: TreeStep): string {
  switch (step.do) {
    case 'fork': {
      const shared = Object.entries(step.share).flatMap(([kind, on]) => (on ? [` ${kind}`] : []));
      return `${step.by} ${step.sibling ? 'sibling' : 'fork'} ${step.pid}${step.helper ? '?' : ''}${shared.join('')}`;
    }
    case 'subreaper':
      return `${step.pid} subreaper ${step.on ? 'on' : 'off'}`;
    case 'setpgid':
      return `${step.pid} setpgid ${step.pgid}`;
    case 'end':
      return `${step.reaper} reaps ${step.pid}`;
    default:
      return `${step.pid} ${step.do}`;
  }
}

function failure(what: () => unknown): StasisError {
  try {
    what();
  } catch (error) {
    if (error instanceof StasisError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('sessions', () => {
  test('one task leads, gets its terminal, and has children in order', () => {
    const tasks = [leader(10, 0, { terminal: true }), task(12, 10), task(11, 10), task(13, 12)];
    expect(plan(tasks)).toEqual(['10 setsid', '10 terminal', '10 fork 12', '10 fork 11', '12 fork 13']);
  });

  test('a child born before its parent called setsid', () => {
    expect(plan([leader(10, 0), leader(11, 10), task(12, 11), task(13, 11, { pgid: 11, sid: 11 })])).toEqual([
      '10 setsid',
      '10 fork 11',
      '11 fork 12',
      '11 setsid',
      '11 fork 13',
    ]);
  });

  test('leaders one below another, whose lowest child is in the highest session', () => {
    expect(plan([leader(10, 0), leader(11, 10), leader(12, 11), task(13, 12)])).toEqual([
      '10 setsid',
      '10 fork 11',
      '11 fork 12',
      '11 setsid',
      '12 fork 13',
      '12 setsid',
    ]);
  });

  test('a sibling in the session of a task that is no ancestor', () => {
    expect(plan([leader(10, 0), leader(11, 10), task(12, 10, { pgid: 11, sid: 11 })])).toEqual([
      '10 setsid',
      '10 fork 11',
      '11 setsid',
      '11 sibling 12',
    ]);
  });

  test('daemons: the leader has gone, its children are their grandparent’s', () => {
    const daemon = { pgid: 11, sid: 11 };
    expect(plan([leader(10, 0, { subreaper: true }), task(12, 10, daemon), task(13, 10, daemon)])).toEqual([
      '10 setsid',
      '10 fork 11?',
      '11 setsid',
      '11 sibling 12',
      '11 sibling 13',
      '10 reaps 11',
      '10 subreaper on',
    ]);
  });

  test('orphans of a task deep below', () => {
    const tasks = [leader(10, 0), task(11, 10), leader(12, 11), task(13, 10, { pgid: 12, sid: 12 })];
    expect(plan(tasks, { joins: false, sparePids: SPARES })).toEqual([
      '10 setsid',
      '10 fork 11',
      '11 fork 12',
      '12 setsid',
      '12 fork 99?',
      '99 fork 13',
      '10 subreaper on',
      '12 reaps 99',
      '10 subreaper off',
    ]);
  });

  test('leaders that were born in a session whose leader has gone', () => {
    const gone = { pgid: 20, sid: 20 };
    expect(plan([leader(10, 0), leader(11, 10), task(12, 11, gone), leader(13, 10), task(14, 13, gone)])).toEqual([
      '10 setsid',
      '10 fork 20?',
      '20 setsid',
      '20 sibling 11',
      '20 sibling 13',
      '11 fork 12',
      '11 setsid',
      '13 fork 14',
      '13 setsid',
      '10 reaps 20',
    ]);
  });

  test('a leader that was below another one, by a parent that has ended', () => {
    const tasks = [
      leader(10, 0),
      leader(11, 10),
      task(13, 11, { sid: 7, pgid: 7 }),
      task(14, 11, { sid: 8, pgid: 8 }),
      leader(12, 10),
      task(15, 12, { sid: 7, pgid: 7 }),
      task(16, 12, { sid: 8, pgid: 8 }),
    ];
    expect(plan(tasks, { joins: false, sparePids: SPARES })).toEqual([
      ...['10 setsid', '10 fork 8?', '8 setsid', '8 sibling 12'],
      // 98 stays until all that 11 has below it has come to where it is, with 12 above it.
      ...['12 fork 98?', '98 fork 11', '12 fork 16', '12 setsid', '11 fork 14', '11 setsid', '11 fork 7?'],
      ...['7 setsid', '7 sibling 13', '7 fork 99?', '99 fork 15', '12 subreaper on', '7 reaps 99', '12 subreaper off'],
      ...['10 subreaper on', '12 reaps 98', '10 subreaper off', '11 reaps 7', '10 reaps 8'],
    ]);
  });

  test('a leader that was below a task that never was in its session', () => {
    const tasks = [leader(10, 0), leader(11, 10), task(12, 10), task(13, 12, { sid: 11, pgid: 11 })];
    expect(plan(tasks, { joins: false, sparePids: SPARES })).toEqual([
      ...['10 setsid', '10 fork 12', '12 fork 98?', '98 fork 11', '11 setsid', '11 fork 99?', '99 fork 13'],
      ...['12 subreaper on', '11 reaps 99', '12 subreaper off', '10 subreaper on', '12 reaps 98', '10 subreaper off'],
    ]);
  });

  test('a leader whose children are of two sessions before its own', () => {
    const tasks = [leader(10, 0), leader(11, 10), leader(12, 10), task(13, 12), task(14, 12, { sid: 11, pgid: 11 })];
    expect(plan(tasks)).toContain('12 setsid');
  });

  test('a session that has gone, below two tasks that never were in it', () => {
    const members = [11, 12].flatMap((pid) => [task(pid, 10), task(pid + 2, pid, { sid: 20, pgid: 20 })]);
    expect(plan([leader(10, 0), ...members], { joins: false, sparePids: SPARES })).toEqual([
      ...['10 setsid', '10 fork 11', '11 fork 98?', '98 fork 12', '12 fork 20?', '20 setsid', '20 sibling 14'],
      ...['20 fork 99?', '99 fork 13', '11 subreaper on', '20 reaps 99', '11 subreaper off'],
      ...['10 subreaper on', '11 reaps 98', '10 subreaper off', '12 reaps 20'],
    ]);
  });

  test('a session that has gone, below three tasks that never were in it: each was below another one', () => {
    const members = [11, 12, 13].flatMap((pid) => [task(pid, 10), task(pid + 3, pid, { sid: 20, pgid: 20 })]);
    const steps = plan([leader(10, 0), ...members]);
    // Who gets its parent last was the highest one.
    expect(steps.filter((step) => /^1[0-9] reaps/.test(step)).map((step) => step.split(' ')[0])).toEqual([
      '12',
      '11',
      '13',
    ]);
  });

  test('sessions of two leaders below a task that never was in either', () => {
    const tasks = [
      leader(10, 0),
      ...[11, 12].flatMap((pid) => [leader(pid, 10), task(pid + 3, 13, { sid: pid, pgid: pid })]),
      task(13, 10),
      task(16, 11, { sid: 12, pgid: 12 }),
    ];
    expect(plan(tasks).filter((step) => step.endsWith('setsid'))).toEqual(['10 setsid', '12 setsid', '11 setsid']);
  });

  test('a zombie leads', () => {
    const zombie = leader(11, 10, { zombie: true, terminal: true });
    expect(plan([leader(10, 0), { ...zombie, terminal: false }, task(12, 10, { pgid: 11, sid: 11 })])).toEqual([
      '10 setsid',
      '10 fork 11',
      '11 setsid',
      '11 sibling 12',
    ]);
    expect(planTree([leader(10, 0), zombie], ALONE).map(short)).not.toContain('11 terminal');
  });
});

describe('groups', () => {
  test('a pipeline of a shell, whose first program has ended', () => {
    expect(plan([leader(10, 0), task(12, 10, { pgid: 11 }), task(13, 10, { pgid: 11 })])).toEqual([
      '10 setsid',
      '10 fork 12',
      '10 fork 13',
      '12 fork 11?',
      '11 setpgid 11',
      '12 setpgid 11',
      '13 setpgid 11',
      '12 reaps 11',
    ]);
  });

  test('a leader of a group that is in another one', () => {
    expect(
      plan([leader(10, 0), task(11, 10, { pgid: 12 }), task(12, 10, { pgid: 12 }), task(13, 10, { pgid: 11 })]),
    ).toEqual([
      '10 setsid',
      '10 fork 11',
      '10 fork 12',
      '10 fork 13',
      '12 setpgid 12',
      '11 setpgid 11',
      '13 setpgid 11',
      '11 setpgid 12',
    ]);
  });

  test('two leaders, each in the other one’s group', () => {
    const tasks = [leader(10, 0), task(11, 10, { pgid: 12 }), task(12, 10, { pgid: 11 })];
    expect(plan(tasks, { joins: false, sparePids: SPARES }).slice(3)).toEqual([
      '12 setpgid 12',
      '11 setpgid 11',
      '12 fork 99?',
      '12 setpgid 11',
      '11 setpgid 12',
      '12 reaps 99',
    ]);
  });

  test('a zombie is all there is of a group', () => {
    expect(plan([leader(10, 0), task(12, 10, { pgid: 11, zombie: true })])).toContain('12 setpgid 11');
  });
});

describe('what clone shares', () => {
  test('with the parent', () => {
    expect(plan([leader(10, 0, sharing(1, 1, 1, 1)), task(11, 10, sharing(2, 2, 1, 1))])).toContain(
      '10 fork 11 files fs',
    );
  });

  test('with a sibling, but not with the parent', () => {
    const root = leader(10, 0, sharing(1, 1, 1, 1));
    expect(plan([root, task(11, 10, sharing(2, 2, 2, 1)), task(12, 10, sharing(2, 2, 2, 3))]).slice(1)).toEqual([
      '10 fork 11 fs',
      '11 sibling 12 vm sighand files',
    ]);
  });

  test('with a sibling that leads a session, before it did', () => {
    const tasks = [
      leader(10, 0, sharing(1, 1, 1, 1)),
      task(11, 10, sharing(2, 2, 2, 3)),
      leader(12, 10, sharing(2, 2, 2, 1)),
    ];
    expect(plan(tasks).slice(1)).toEqual(['10 fork 12 fs', '12 sibling 11 vm sighand files', '12 setsid']);
  });

  test('an orphan with a task that is below its foster parent', () => {
    const tasks = [leader(10, 0), task(11, 10), task(12, 11, sharing(2, 2, 2, 2)), task(13, 10, sharing(2, 2, 3, 3))];
    expect(plan(tasks, { joins: false, sparePids: SPARES }).slice(1)).toEqual([
      '10 fork 11',
      '11 fork 12',
      '12 fork 99? vm sighand',
      '99 fork 13 vm sighand',
      '10 subreaper on',
      '12 reaps 99',
      '10 subreaper off',
    ]);
  });

  test('a helper, and a zombie, in between', () => {
    const root = leader(10, 0, sharing(1, 1, 1, 1));
    const gone = task(12, 10, { pgid: 11, sid: 11, ...sharing(2, 2, 1, 3) });
    expect(plan([root, gone])).toContain('10 fork 11? files');
    expect(plan([root, leader(11, 10, { zombie: true }), gone])).toContain('10 fork 11 files');
  });
});

describe('--shell-job', () => {
  test('what is in the foreign session and group stays there', () => {
    const shell = { pgid: 5, sid: 4 };
    expect(plan([task(10, 0, shell), task(11, 10, shell), task(12, 10, { pgid: 12, sid: 4 })], JOINS)).toEqual([
      '10 fork 11',
      '10 fork 12',
      '12 setpgid 12',
    ]);
  });

  test('a job that leads a group of its own, and one that has come back from its own', () => {
    expect(plan([task(10, 0, { pgid: 10, sid: 4 }), task(11, 10, { pgid: 10, sid: 4 })], JOINS)).toEqual([
      '10 fork 11',
      '10 setpgid 10',
      '11 setpgid 10',
    ]);
    const back = [
      task(10, 0, { pgid: 5, sid: 4 }),
      task(11, 10, { pgid: 5, sid: 4 }),
      task(12, 11, { pgid: 11, sid: 4 }),
    ];
    expect(plan(back, JOINS)).toContain(`11 setpgid ${JOB}`);
    expect(failure(() => planTree(back, { joins: true }))).toMatchObject({ kind: 'unsupported', task: { pid: 11 } });
  });

  test('a root that leads a session does so', () => {
    expect(plan([leader(10, 0)], JOINS)).toEqual(['10 setsid']);
  });

  test('without it a root in a session of others is refused', () => {
    expect(failure(() => planTree([task(10, 0, { sid: 4 })], ALONE))).toMatchObject({
      kind: 'usage',
      resource: 'session 4',
    });
  });
});

describe('refused', () => {
  const damaged: [string, TreeTask[], RegExp][] = [
    ['nothing', [], /no tasks/],
    ['PID 0', [leader(0, 0)], /no PID/],
    ['a PID twice', [leader(10, 0), task(11, 10), task(11, 10)], /twice/],
    ['two roots', [leader(10, 0), leader(11, 0)], /neither has task 10/],
    ['no root', [leader(10, 11), task(11, 10)], /root/],
    ['a parent that is not there', [leader(10, 0), task(11, 12)], /parent 12/],
    ['a circle', [leader(10, 0), task(11, 12), task(12, 11)], /own ancestor/],
    ['children of a zombie', [leader(10, 0), task(11, 10, { zombie: true }), task(12, 11)], /zombie/],
    ['a session leader in another group', [leader(10, 0, { pgid: 11 })], /leads a session/],
    [
      'a group in two sessions',
      [leader(10, 0), leader(11, 10), task(12, 10, { sid: 11 })],
      /group 10 is in session 10/,
    ],
    ['a session of a task in another one', [leader(10, 0), task(11, 10), task(12, 10, { sid: 11, pgid: 11 })], /lead/],
    ['session 0', [leader(10, 0), task(11, 10, { sid: 0, pgid: 0 })], /no session 0/],
    [
      'handlers shared without memory',
      [leader(10, 0, sharing(1, 1, 1, 1)), task(11, 10, sharing(2, 1, 1, 1))],
      /memory/,
    ],
  ];
  test.each(damaged)('%s', (_name, tasks, reason) => {
    const error = failure(() => planTree(tasks, ALONE));
    expect(error).toMatchObject({ kind: 'image', resource: 'pstree.img' });
    expect(error.reason).toMatch(reason);
  });

  const impossible: [string, TreeTask[], number, RegExp][] = [
    [
      'descriptors shared across a parent that has others',
      [leader(10, 0, sharing(1, 1, 1, 1)), task(11, 10, sharing(2, 2, 2, 2)), task(12, 11, sharing(3, 3, 1, 3))],
      10,
      /shares its table of descriptors with task 12/,
    ],
    [
      'two leaders, each begun below a task of the other',
      [
        leader(10, 0),
        task(11, 10, { sid: 14, pgid: 14 }),
        task(12, 10, { sid: 13, pgid: 13 }),
        leader(13, 11),
        leader(14, 12),
      ],
      11,
      /another one/,
    ],
  ];
  test.each(impossible)('%s', (_name, tasks, pid, reason) => {
    const error = failure(() => planTree(tasks, ALONE));
    expect(error).toMatchObject({ kind: 'unsupported', task: { pid } });
    expect(error.reason).toMatch(reason);
  });
});

describe('random histories', () => {
  /** How a plan for a tree turns out. */
  function outcome(tasks: readonly TreeTask[], planting: Planting): 'made' | 'refused' | 'damaged' {
    let steps: readonly TreeStep[];
    try {
      steps = planTree(tasks, planting);
    } catch (error) {
      if (!(error instanceof StasisError)) throw error;
      return error.kind === 'unsupported' ? 'refused' : 'damaged';
    }
    // toEqual is slow; only a difference is worth being told in detail.
    const [made, wanted] = [comparable(simulate(steps, tasks, planting)), comparable(tasks)];
    if (!Bun.deepEquals(made, wanted)) expect(made).toEqual(wanted);
    return 'made';
  }

  test('whatever sessions, groups and parents a tree has come to, it is made again', () => {
    for (let seed = 1; seed <= 2500; seed++) {
      const events = 5 + (seed % 60);
      for (const job of [false, true]) {
        const tasks = randomTree({ seed, events, sharing: 0, job });
        expect(outcome(tasks, job ? JOINS : ALONE)).toBe('made');
      }
    }
  }, 60_000);

  test('so are hundreds of tasks whose parents have gone, again and again', () => {
    for (let seed = 1; seed <= 400; seed++) {
      expect(outcome(restlessTree(seed, seed % 10 === 0 ? 800 : 341), ALONE)).toBe('made');
    }
  }, 60_000);

  test('so is what tasks share, but for what only tasks that have gone had together', () => {
    let refused = 0;
    for (let seed = 1; seed <= 3000; seed++) {
      const job = seed % 2 === 0;
      const tasks = randomTree({ seed, events: 5 + (seed % 60), sharing: 25, job });
      if (outcome(tasks, job ? JOINS : ALONE) !== 'made') refused++;
    }
    expect(refused).toBeLessThan(15);
  }, 60_000);

  test('a damaged tree is refused, or made as it says', () => {
    const fields = ['pid', 'ppid', 'pgid', 'sid', 'zombie', 'subreaper'] as const;
    for (let seed = 1; seed <= 3000; seed++) {
      const random = generator(seed);
      const below = (n: number) => Math.floor(random() * n);
      const tasks = randomTree({ seed, events: 5 + (seed % 30), sharing: 10, job: false });
      const field = fields[below(fields.length)] ?? 'pid';
      const victim = below(tasks.length);
      const [from, to] = [tasks[below(tasks.length)] as TreeTask, tasks[victim] as TreeTask]; // below the length
      const hurt: TreeTask = {
        ...to,
        [field]: below(4) === 0 && field !== 'zombie' ? ([-1, 0, 777][below(3)] ?? 0) : from[field],
      };
      const { zombie, sid, pid } = hurt;
      const shared = zombie ? undefined : (to.shared ?? { vm: -pid, sighand: -pid, files: -pid, fs: -pid });
      const terminal = !zombie && sid === pid && to.terminal;
      tasks[victim] = { ...hurt, shared, terminal, subreaper: !zombie && Boolean(hurt.subreaper) };
      outcome(tasks, ALONE);
    }
  }, 60_000);
});

describe('sessions and groups of others', () => {
  const TAKEN: Planting = { ...JOINS, isTaken: (number) => number === 5 || number === 6 };
  const tasks = [leader(10, 0), task(11, 10, { sid: 5, pgid: 6 }), task(12, 10)];

  test('a task that has stayed in one is born in that of whoever restores it', () => {
    expect(plan(tasks, TAKEN)).toEqual(['10 fork 11', '10 setsid', '10 fork 12']);
  });

  test('one that is nobody’s now is made again', () => {
    const steps = plan(tasks, JOINS);
    expect(steps).toContain('10 fork 5?');
    expect(steps).toContain('11 fork 6?');
  });

  test('its other groups are made again', () => {
    const more = [...tasks, task(13, 10, { sid: 5, pgid: 7 }), task(14, 13, { sid: 5, pgid: 14 })];
    const steps = plan(more, TAKEN);
    expect(steps).toContain('13 fork 7?');
    expect(steps).toContain('14 setpgid 14');
  });

  test('a plan claims the numbers of its tasks, and of leaders that are gone', () => {
    const claims = claimsOf(planTree(tasks, ALONE), tasks);
    expect(claims.map(({ number, use, pid }) => `${use} ${number} of ${pid}`)).toEqual([
      'task 10 of 10',
      'task 11 of 11',
      'task 12 of 12',
      'session 5 of 11',
      'group 6 of 11',
    ]);
    expect(claimsOf(planTree(tasks, TAKEN), tasks).map(({ number }) => number)).toEqual([10, 11, 12]);
  });
});

describe('many tasks', () => {
  const MANY = 30_000;
  const make = (one: (i: number) => TreeTask[]) => Array.from({ length: MANY }, (_, i) => one(i)).flat();
  const first = leader(10, 0);
  const shapes: [string, TreeTask[]][] = [
    ['a chain', make((i) => [i === 0 ? first : task(10 + i, 9 + i)])],
    ['a chain of sessions', make((i) => [leader(10 + i, i === 0 ? 0 : 9 + i)])],
    ['a row', make((i) => [i === 0 ? first : task(10 + i, 10)])],
    [
      'a row of orphans of many sessions',
      make((i) => [i === 0 ? first : task(10 + i, 10, { pgid: -i + 1e6, sid: -i + 1e6 })]),
    ],
    ['a row of many groups', make((i) => [i === 0 ? first : task(10 + i, 10, { pgid: 1e6 + i })])],
    [
      'a row that shares',
      [{ ...first, ...sharing(1, 1, 1, 1) }, ...make((i) => [task(11 + i, 10, sharing(2, 2, 2, 1))])],
    ],
    [
      'a chain of sessions, in each an orphan of one that has gone',
      make((i) => [leader(10 + i, i === 0 ? 0 : 9 + i), task(1e6 + i, 10 + i, { pgid: 2e6 + i, sid: 2e6 + i })]),
    ],
  ];
  test.each(shapes)(
    '%s',
    (_name, tasks) => {
      const before = process.cpuUsage();
      const steps = planTree(tasks, ALONE);
      // Microseconds, far more than it takes; what grows with the square of the tasks' number takes much longer.
      expect(process.cpuUsage(before).user).toBeLessThan(3_000_000);
      expect(simulate(steps, tasks, ALONE).length).toBe(tasks.length);
    },
    60_000,
  );
});
