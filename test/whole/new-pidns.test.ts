/** `restore --new-pidns` and the name `criu-ns`: into PID and mount namespaces of their own, and out of them again. */
import { afterEach, expect, test } from 'bun:test';
import { appendFileSync, readFileSync, readlinkSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { HOUSE } from './kit/house.ts';
import { run, stasis, stasisOk } from './kit/stasis.ts';
import { statOf } from './kit/tree.ts';
import { until } from './kit/until.ts';
import { goOn, Victim } from './kit/victim.ts';

const LIMIT = 60_000;
const inits: number[] = [];

afterEach(() => {
  for (const pid of inits.splice(0)) if (statOf(pid)?.comm.includes('stasis')) process.kill(pid, 'SIGKILL');
});

const linkOf = (pid: number, name: string): string => readlinkSync(`/proc/${pid}/ns/${name}`);
const parentOf = (pid: number): number => statOf(pid)?.ppid ?? 0;

/** Restores the latest dump of a victim, and answers the PID here of its root. */
async function restoreApart(victim: Victim, command?: readonly string[]): Promise<number> {
  const pidfile = join(victim.images, 'apart');
  const line = [...victim.restoreLine(), '--pidfile', pidfile];
  if (command) expect(await run([...command, ...line])).toMatchObject({ status: 0 });
  else await stasisOk([...line, '--new-pidns'], join(victim.images, 'restore.log'));
  const pid = Number(readFileSync(pidfile, 'utf8'));
  inits.push(parentOf(pid));
  return pid;
}

/** The numbers of a process, the outermost first. */
function numbers(pid: number): number[] {
  const line = /^NSpid:(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '';
  return line.trim().split(/\s+/).map(Number);
}

test(
  'a tree is restored while it runs on, with the numbers it has',
  async () => {
    using victim = await Victim.start('heap');
    await victim.dump(['--leave-running']);
    const taken = await stasis(victim.restoreLine());
    expect(taken.status).toBe(1);
    const pid = await restoreApart(victim);
    expect(numbers(pid)).toEqual([pid, victim.pid]);
    for (const name of ['pid', 'mnt']) expect(linkOf(pid, name)).not.toBe(linkOf(process.pid, name));
    // Its /proc has the numbers inside.
    expect(readFileSync(`/proc/${pid}/root/proc/${victim.pid}/comm`, 'utf8')).toBe('heap\n');
    expect(readFileSync(`/proc/${pid}/root/proc/1/comm`, 'utf8')).not.toBe(readFileSync('/proc/1/comm', 'utf8'));
    const init = parentOf(pid);
    await goOn();
    process.kill(pid, 'SIGKILL');
    await until(
      () => (statOf(init) === undefined || statOf(init)?.state === 'Z' ? true : undefined),
      5000,
      () => 'the init stays although the tree has ended',
    );
    await victim.verdict();
  },
  LIMIT,
);

test(
  'criu-ns takes a tree into namespaces, out of them, and into others',
  async () => {
    using victim = await Victim.start('prefork', ['4', '3']);
    const name = join(victim.dir, 'criu-ns');
    symlinkSync(join(HOUSE, 'dist/stasis'), name);
    const inner = victim.pid;
    await victim.dump();
    for (let cycle = 0; cycle < 3; cycle++) {
      const pid = await restoreApart(victim, [name]);
      expect(numbers(pid)).toEqual([pid, inner]);
      await goOn();
      const init = parentOf(pid);
      const line = victim.dumpLine();
      line[line.indexOf('-t') + 1] = String(pid);
      expect(await run([name, ...line])).toMatchObject({ status: 0 });
      await until(
        () => (statOf(init) === undefined || statOf(init)?.state === 'Z' ? true : undefined),
        5000,
        () => 'the init stays',
      );
    }
    await victim.restore();
    expect(victim.pid).toBe(inner);
    await victim.verdict();
  },
  LIMIT,
);

test(
  'attached, it answers as the tree has ended; a restore that fails leaves nothing',
  async () => {
    using victim = await Victim.start('prefork', ['4', '3']);
    await victim.dump();
    const wrong = await stasis([...victim.restoreLine(), '--new-pidns', '--inherit-fd', 'fd[99]:x']);
    expect(wrong.status).toBe(1);
    expect(wrong.stderr).toContain('has no descriptor 99');
    const line = victim.restoreLine().filter((word) => word !== '-d');
    const attached = run([join(HOUSE, 'dist/stasis'), ...line, '--new-pidns', '--exit-code']);
    await goOn(1000);
    appendFileSync(join(victim.dir, 'ask'), 'ask 0 0\n');
    expect(await attached).toMatchObject({ status: 0 });
    expect(victim.output()).toContain('PASS');
  },
  LIMIT,
);
