/** Debian packages the scripts need, installed when they are missing. */

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { run } from './setup.mjs';

/** Whether a program can be found. */
export function onPath(program) {
  return spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
}

/** Whether a C program can be compiled. */
export function canCompile() {
  return onPath('gcc') && existsSync('/usr/include/stdio.h');
}

/** Whether a Debian package is installed. */
export function isInstalled(name) {
  const { stdout } = spawnSync('dpkg', ['-s', name], { encoding: 'utf8' });
  return stdout?.includes('\nStatus: install ok installed\n') ?? false;
}

/** Installs Debian packages; returns whether they are there now. */
export function installPackages(packages) {
  if (packages.length === 0) return true;
  console.log(`Installing ${packages.join(', ')} …`);
  const apt = (...args) =>
    run('apt-get', ['-qq', ...args], {
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  const install = ['install', '-y', '--no-install-recommends', ...packages];
  return apt(...install) || (apt('update') && apt(...install));
}
