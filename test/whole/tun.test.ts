/** Tun and tap devices: they stay on the machine while the program that has them open is away. */
import { expect, test } from 'bun:test';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { inNetwork } from './kit/netspace.ts';
import { stasis } from './kit/stasis.ts';
import { until } from './kit/until.ts';
import { goOn, Victim } from './kit/victim.ts';

/** The network devices of a victim. */
class Devices implements Disposable {
  readonly names: readonly string[];

  constructor({ pid }: Victim) {
    this.names = [`stn${pid}`, `stp${pid}`];
  }

  get there(): number {
    return this.names.filter((name) => existsSync(`/sys/class/net/${name}`)).length;
  }

  remove(): void {
    for (const name of this.names) spawnSync('ip', ['link', 'delete', name], { stdio: 'ignore' });
  }

  [Symbol.dispose](): void {
    this.remove();
  }
}

test('devices wait for the restore, and are transient after it', async () => {
  using victim = await Victim.start('tun');
  if (victim.skipped) return;
  using devices = new Devices(victim);
  for (let cycle = 0; cycle < 3; cycle++) {
    const { stderr } = await victim.dump();
    expect(stderr).toContain(
      `Warning: task ${victim.pid} (tun): /dev/net/tun: the network device stn${victim.pid} stays`,
    );
    expect(devices.there).toBe(2);
    await victim.restore();
    await goOn();
  }
  await victim.verdict();
  await until(
    () => (devices.there === 0 ? true : undefined),
    5000,
    () => 'the devices are still there',
  );
}, 30_000);

test('a dump that lets the program go on changes no device', async () => {
  using victim = await Victim.start('tun');
  if (victim.skipped) return;
  using _ = new Devices(victim);
  const { stderr } = await victim.dump(['--leave-running']);
  expect(stderr).toBe('');
  await victim.verdict();
}, 20_000);

test('a device that is gone is found before a process is made', async () => {
  using victim = await Victim.start('tun');
  if (victim.skipped) return;
  using devices = new Devices(victim);
  await victim.dump();
  devices.remove();
  const refused = await stasis(victim.restoreLine());
  expect(refused.status).toBe(1);
  expect(refused.stderr).toContain(`network device stn${victim.pid}: there is no such device on this machine`);
  expect(refused.stderr).toContain(`ip tuntap add dev stn${victim.pid}`);
  expect(victim.exists()).toBe(false);
}, 20_000);

test('devices of a network namespace of the tree come back with it, and are transient', async () => {
  using victim = await Victim.start('tun', [], { unshare: ['--net', '--pid'] });
  if (victim.skipped) return;
  for (let cycle = 0; cycle < 3; cycle++) {
    const { stderr } = await victim.dump();
    expect(stderr).toBe('');
    await victim.restore();
    const devices = inNetwork(victim.pid, 'ip -d link show type tun');
    expect(devices.match(/persist off/g)?.length).toBe(2);
    await goOn();
  }
  await victim.verdict();
}, 30_000);

test('devices of one name in two network namespaces of the tree', async () => {
  using victim = await Victim.start('tunapart', [], { unshare: ['--net', '--pid', '--mount-proc'] });
  if (victim.skipped) return;
  for (let cycle = 0; cycle < 3; cycle++) {
    await victim.cycle();
    await goOn();
  }
  await victim.verdict();
}, 30_000);
