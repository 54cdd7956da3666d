/**
 * A container by hand: a root directory, every kind of namespace but that of users, an init, and a network that a veth
 * pair connects with the bridge of its host.
 */
import { spawn, spawnSync } from 'node:child_process';
import { openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { inHost, must } from '../hosts.mjs';
import { home } from '../setup.mjs';

const OUTSIDE = 'stasis-veth';
const OPTIONS = ['--tcp-established', '--ext-unix-sk', '--file-locks', '--manage-cgroups'];

/** What is done inside of the new namespaces before the init of the container runs. $1 is the root directory. */
const ENTER = `set -e
mount --make-rprivate /
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs dev
mount -t tmpfs -o mode=755 tmpfs run
for name in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
  IFS=: read -r file major minor <<END
$name
END
  mknod -m 666 "dev/$file" c "$major" "$minor"
done
mkdir dev/pts dev/shm dev/mqueue
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
mount -t tmpfs -o mode=1777 shm dev/shm
mount -t mqueue mqueue dev/mqueue
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
hostname inside
mkdir -p .old
pivot_root . .old
cd /
umount -l /.old
rmdir /.old
until ip link show eth0 >/dev/null 2>&1; do sleep 0.1; done
ip link set lo up
ip link set eth0 address "$3" up
ip address add "$2/24" dev eth0
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C /init </dev/null >/init.log 2>&1
`;

export class Container {
  /** The process that is its init, as this machine numbers it. */
  pid = 0;
  root;
  host;
  times = { dump: [], restore: [] };

  constructor({ root, host, address, mac, images }) {
    Object.assign(this, { root, host, address, mac, images });
  }

  /** Starts it on its host. */
  async start() {
    const spaces = ['--mount', '--pid', '--net', '--ipc', '--uts', '--cgroup', '--fork'];
    const inside = ['setsid', 'sh', '-c', ENTER, 'sh', this.root, this.address, this.mac];
    const log = openSync(join(this.images, 'start.log'), 'a');
    const outer = spawn(...inHost(this.host, 'unshare', ...spaces, ...inside), {
      stdio: ['ignore', log, log],
      detached: true,
    });
    for (let turn = 0; this.pid === 0; turn++) {
      if (turn > 100) throw new Error('the container does not start');
      await sleep(50);
      this.pid = Number(readFileSync(`/proc/${outer.pid}/task/${outer.pid}/children`, 'latin1').trim());
    }
    must('ip', '-n', this.host, 'link', 'add', OUTSIDE, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', `${this.pid}`);
    must('ip', '-n', this.host, 'link', 'set', OUTSIDE, 'master', 'inner', 'up');
  }

  /** Dumps it; it is gone then. */
  dump(images) {
    this.times.dump.push(this.#stasis('dump', '-t', `${this.pid}`, '-D', images, '--root', this.root));
  }

  /** Restores it from a root directory, on a host. */
  restore(images, root, host) {
    this.root = root;
    this.host = host;
    const pidfile = join(images, 'pid');
    // As container engines do: the root is to be a mount point.
    must('mount', '--bind', root, root);
    try {
      const net = ['--external', `veth[eth0]:${OUTSIDE}@inner`];
      this.times.restore.push(
        this.#stasis('restore', '-d', '-D', images, '--root', root, '--pidfile', pidfile, ...net),
      );
    } finally {
      must('umount', root);
    }
    this.pid = Number(readFileSync(pidfile, 'utf8'));
  }

  #stasis(...args) {
    const began = performance.now();
    const line = inHost(this.host, join(home, 'dist/stasis'), ...args, ...OPTIONS);
    const { status, stderr } = spawnSync(line[0], line[1], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`stasis ${args[0]} failed: ${stderr}`);
    if (stderr !== '') console.log(`  ${stderr.trim()}`);
    return performance.now() - began;
  }

  /** How many processes it has. */
  size() {
    const namespace = (pid) => spawnSync('readlink', [`/proc/${pid}/ns/pid`], { encoding: 'utf8' }).stdout;
    const own = namespace(this.pid);
    return must('sh', '-c', 'readlink /proc/[0-9]*/ns/pid || true')
      .split('\n')
      .filter((name) => name === own.trim()).length;
  }

  /** Ends it, with everything in it: the kernel does so when an init ends. */
  kill() {
    if (this.pid === 0) return;
    spawnSync('kill', ['-KILL', `${this.pid}`]);
    this.pid = 0;
  }
}

/** Writes the init of the container into its root: it starts the services and then reaps whatever ends. */
export function writeInit(root, services) {
  const lines = [
    '#!/bin/bash',
    '# Whatever this was started with has no business in here.',
    'for fd in $(ls /proc/self/fd); do [ "$fd" -le 2 ] || eval "exec $fd>&-"; done',
    ...services,
    'while :; do wait -n; [ $? = 127 ] && sleep 1; done',
    '',
  ];
  writeFileSync(join(root, 'init'), lines.join('\n'), { mode: 0o755 });
}
