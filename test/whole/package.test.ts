/**
 * The package as others import it: packed, unpacked into an empty project, with its types, under Node and under Bun.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HOUSE } from './kit/house.ts';
import { run as runAsync } from './kit/stasis.ts';
import { differences } from './kit/state.ts';
import { until } from './kit/until.ts';
import { Victim } from './kit/victim.ts';

let project = '';
beforeAll(() => {
  project = mkdtempSync(join(tmpdir(), 'stasis-package-'));
  run('npm', ['pack', '--silent', '--pack-destination', project], HOUSE);
  const [tarball = ''] = readdirSync(project).filter((name) => name.endsWith('.tgz'));
  const modules = join(project, 'node_modules');
  mkdirSync(join(modules, 'stasis'), { recursive: true });
  run('tar', ['-xzf', join(project, tarball), '-C', join(modules, 'stasis'), '--strip-components=1'], project);
  // What npm would fetch.
  for (const name of ['koffi', '@koromix']) {
    const from = join(HOUSE, 'node_modules', name);
    if (readdirSync(join(HOUSE, 'node_modules')).includes(name)) symlinkSync(from, join(modules, name));
  }
  writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'p', type: 'module' }));
}, 60_000);
afterAll(() => rmSync(project, { recursive: true }));

function run(command: string, args: string[], cwd = project, env: NodeJS.ProcessEnv = process.env): string {
  const done = spawnSync(command, args, { cwd, env, encoding: 'utf8', timeout: 60_000 });
  if (done.status !== 0) throw new Error(`${command} ${args.join(' ')}: ${done.status}\n${done.stdout}${done.stderr}`);
  return done.stdout;
}

/**
 * Runs a program that imports the package, and answers what it prints as JSON. Asynchronous: victims are to be reaped.
 */
async function program(runtime: string, source: string): Promise<Record<string, unknown>> {
  const file = join(project, `program-${readdirSync(project).length}.mjs`);
  writeFileSync(file, source);
  const outcome = await runAsync([runtime, file], { cwd: project, limitMs: 50_000 });
  if (outcome.status !== 0) throw new Error(outcome.stdout + outcome.stderr);
  return JSON.parse(outcome.stdout) as Record<string, unknown>;
}

/** The hooks of a program, which note what they are told. */
const HOOKS = `const points = [], steps = new Set(), lines = [];
  const hooks = {
    at: ({ point, pid }) => { points.push([point, pid].join(' ')); },
    progress: ({ step, done, total }) => { steps.add(step); if (done > total) throw new Error('more than all'); },
    log: (line) => { lines.push(line); },
  };
  const where = process.cwd();
  const told = () => ({ points, steps: [...steps], lines: lines.length, moved: process.cwd() !== where });`;

const BUN = join(HOUSE, 'node_modules/.bin/bun');

for (const runtime of ['node', BUN]) {
  const name = runtime === BUN ? 'bun' : runtime;

  test(`${name}: checked, dumped, inspected and restored`, async () => {
    using victim = await Victim.start('memory');
    const before = await victim.settled();
    const images = join(victim.dir, 'images');
    mkdirSync(images);
    const { pid } = victim;
    const dumped = await program(
      runtime,
      `import { check, dump, inspect } from 'stasis';
       const [tree, imagesDir] = [${pid}, ${JSON.stringify(images)}];
       ${HOOKS}
       const { dumpable } = check({ tree });
       const outcome = dump({ tree, imagesDir, verbosity: 4 }, hooks);
       console.log(JSON.stringify({ dumpable, outcome, report: inspect({ imagesDir }), ...told() }));`,
    );
    const { lines, ...rest } = dumped;
    expect(lines).toBeGreaterThan(5);
    expect(rest).toMatchObject({
      dumpable: true,
      moved: false,
      outcome: { exitCode: 0 },
      points: ['pre-dump', 'query-ext-files', 'post-dump'].map((point) => `${point} ${pid}`),
      steps: ['looking', 'freezing', 'asking', 'memory', 'writing'],
      report: { wholeness: 'whole', tasks: [{ pid, ppid: 0, comm: 'memory', state: 'alive' }] },
    });
    await until(
      () => (victim.exists() ? undefined : true),
      5000,
      () => 'the victim is still there',
    );
    const restored = await program(
      runtime,
      `import { restore } from 'stasis';
       ${HOOKS}
       const outcome = restore({ imagesDir: ${JSON.stringify(images)}, pidfile: 'pid', verbosity: 0 }, hooks);
       console.log(JSON.stringify({ outcome, ...told() }));`,
    );
    expect(restored).toMatchObject({
      outcome: { pid },
      lines: 0,
      moved: false,
      points: ['pre-restore ', ...['post-restore', 'pre-resume', 'post-resume'].map((point) => `${point} ${pid}`)],
      steps: ['reading', 'making', 'memory', 'rebuilding'],
    });
    expect(readFileSync(join(images, 'pid'), 'utf8')).toBe(String(pid));
    const after = await victim.settled();
    expect(differences(before, after)).toEqual([]);
    await victim.verdict();
  }, 60_000);

  test(`${name}: a hook that fails ends a dump before the freeze, and after it lets the tasks go on`, async () => {
    using victim = await Victim.start('sturdy', ['1']);
    const images = join(victim.dir, 'images');
    mkdirSync(images);
    const told = await program(
      runtime,
      `import { dump } from 'stasis';
       const [tree, imagesDir] = [${victim.pid}, ${JSON.stringify(images)}];
       const failing = (at, answer) => ({ at: ({ point }) => (point === at ? answer() : 0) });
       const reasons = [];
       for (const answer of [() => 5, () => { throw new Error('no'); }]) {
         try { dump({ tree, imagesDir }, failing('pre-dump', answer)); } catch ({ message }) { reasons.push(message); }
       }
       const { exitCode } = dump({ tree, imagesDir }, failing('post-dump', () => 7));
       console.log(JSON.stringify({ reasons, exitCode }));`,
    );
    expect(told).toEqual({ reasons: ['pre-dump script: it ended with exit code 5', 'no'], exitCode: 7 });
    expect(victim.alive()).toBe(true);
    await victim.verdict();
  }, 60_000);

  test(`${name}: options are judged as on the command line`, async () => {
    const told = await program(
      runtime,
      `import { check, dump, restore, StasisError, ObstacleError } from 'stasis';
       const say = (work) => { try { work(); return 'done'; } catch (e) { return e instanceof StasisError ? e.message : 'foreign'; } };
       console.log(JSON.stringify([
         say(() => dump({ tree: 1, allowUprobes: true })),
         say(() => dump({ tree: 1, pidfile: 5 })),
         say(() => dump({ tree: 1, inheritFd: [{ fd: 1, key: 'x' }] })),
         say(() => dump({ tree: -1 })),
         say(() => dump({ tree: 1, bogus: 1 })),
         say(() => dump({})),
         say(() => dump({ tree: 1, imagesDir: '/nowhere' })),
         say(() => restore({ finalState: 'gone' })),
         say(() => check({ feature: ['bogus'] })),
         check({ feature: ['clone3_set_tid'] }).features[0].supported,
       ]));`,
    );
    expect(told as unknown).toEqual([
      'allowUprobes: not built yet for dump',
      'pidfile: cannot be 5',
      'inheritFd: is for restore, not for dump',
      'tree: cannot be -1',
      'bogus: there is no such option',
      'no process was named',
      '/nowhere: there is no such directory (images)',
      'finalState: cannot be "gone"',
      'feature: there is no feature bogus',
      true,
    ]);
  }, 60_000);
}

test('types: what is right compiles, and what is wrong does not', () => {
  const source = `import { check, dump, inspect, restore, type DumpOutcome, type Hooks, type Progress } from 'stasis';
const hooks: Hooks = { at: ({ point, pid }) => (point === 'pre-dump' && pid === 1 ? 1 : 0), progress: (p: Progress) => void p.done };
const outcome: DumpOutcome = dump({ tree: 1, imagesDir: '/i', finalState: 'running', fileLocks: true }, hooks);
const frozen: number = outcome.figures.frozen;
const pid: number = restore({ imagesDir: '/i', inheritFd: [{ fd: 1, key: 'k' }] }).pid;
const obstacles: readonly { message: string }[] = check({ tree: 1 }).obstacles;
const features: readonly { name: string }[] = check().features;
const stored: number = inspect({ imagesDir: '/i' }).tasks[0]?.memory.stored ?? frozen + pid + obstacles.length + features.length;
// @ts-expect-error: the process is missing
dump({ imagesDir: '/i' });
// @ts-expect-error: this is for a restore
dump({ tree: 1, restoreSibling: true });
// @ts-expect-error: not built yet
dump({ tree: 1, allowUprobes: true });
// @ts-expect-error: a matter of the command line
restore({ detached: true });
export { stored };
`;
  writeFileSync(join(project, 'program.ts'), source);
  const options = { strict: true, noEmit: true, target: 'es2023', module: 'nodenext', skipLibCheck: false, types: [] };
  writeFileSync(
    join(project, 'tsconfig.json'),
    JSON.stringify({ compilerOptions: { ...options, lib: ['es2023', 'esnext.disposable'] }, files: ['program.ts'] }),
  );
  run(join(HOUSE, 'node_modules/.bin/tsc'), []);
}, 60_000);

test('the package brings the command as well', () => {
  const command = join(project, 'node_modules/stasis/bin/stasis');
  expect(run(command, ['--version'])).toStartWith('Stasis ');
}, 60_000);
