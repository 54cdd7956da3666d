/** A root directory with a small Debian in it, made by debootstrap(8). */
import { spawnSync } from 'node:child_process';
import { installPackages, onPath } from '../debian.mjs';

/** Where this machine gets Debian's packages from, and which Debian it is. */
function source() {
  const { stdout } = spawnSync('apt-get', ['indextargets', '--format', '$(SITE) $(RELEASE)'], { encoding: 'utf8' });
  const lines = (stdout ?? '').split('\n').map((line) => line.split(' '));
  const [site, release] = lines.find(([, name]) => name && !name.includes('-')) ?? [];
  if (!site) throw new Error('apt knows no source of Debian packages');
  return { site, release };
}

/** Makes a root directory with some packages; takes a few minutes. @throws Error */
export function makeRoot(directory, packages) {
  if (!onPath('debootstrap') && !installPackages(['debootstrap'])) throw new Error('could not install debootstrap');
  const { site, release } = source();
  const args = ['--variant=minbase', `--include=${packages.join(',')}`, release, directory, site];
  const { status, stdout } = spawnSync('debootstrap', args, { encoding: 'utf8', maxBuffer: 1 << 26 });
  if (status !== 0) throw new Error(`debootstrap failed: ${stdout.split('\n').slice(-5).join('\n')}`);
}
