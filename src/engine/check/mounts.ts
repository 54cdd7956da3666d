/** Probes for features of mounts, made in a mount namespace that ends with the throw-away process in it. */

import { existsSync, readFileSync } from 'node:fs';
import { PAGE_SIZE } from '../../arch/page-size.ts';
import { cstring } from '../../base/text.ts';
import { AT, O, STATX } from '../../kernel/constants/files.ts';
import { MAP, PROT } from '../../kernel/constants/memory.ts';
import { MOVE_MOUNT, MS } from '../../kernel/constants/mounts.ts';
import { CLONE } from '../../kernel/constants/tasks.ts';
import { STATX_SIZE, Statx } from '../../kernel/layouts/files.ts';
import { parseMountInfo } from '../../kernel/proc/mountinfo.ts';
import { readProc } from '../../kernel/proc/read.ts';
import { parseSmaps } from '../../kernel/proc/smaps.ts';
import type { Program } from '../../tracee/program.ts';
import type { Probe } from './feature.ts';
import { ask, inThrowaway, PLAYGROUND } from './throwaway.ts';

/** A directory that exists on every machine; in the new mount namespace another file system may be mounted over it. */
const HERE = '/proc';

const at = (p: Program, path: string): number => p.data(cstring(path));

/** Enters a new mount namespace from which no mount propagates. */
function isolate(p: Program): void {
  p.call('unshare', CLONE.NEWNS);
  p.call('mount', 0, at(p, '/'), 0, MS.REC | MS.PRIVATE, 0);
}

function mountTmpfs(p: Program): void {
  p.call('mount', at(p, 'stasis'), at(p, HERE), at(p, 'tmpfs'), 0, 0);
}

/** A mount can join the peer group of another one (MOVE_MOUNT_SET_GROUP). */
export const mountSetGroup: Probe = () =>
  inThrowaway((seed) => {
    ask(seed, (p) => {
      const inner = at(p, `${HERE}/inner`);
      isolate(p);
      mountTmpfs(p);
      p.call('mkdirat', AT.FDCWD, inner, 0o700);
      p.call('mount', inner, inner, 0, MS.BIND, 0);
      p.call('mount', 0, at(p, HERE), 0, MS.SHARED, 0);
      p.call('move_mount', AT.FDCWD, at(p, HERE), AT.FDCWD, inner, MOVE_MOUNT.SET_GROUP);
    });
    return undefined;
  });

/** /proc/PID/maps and statx agree on the device and inode of a file of an overlay. */
export const overlayMaps: Probe = () =>
  inThrowaway((seed) => {
    const { program, built } = ask(seed, (p) => {
      isolate(p);
      mountTmpfs(p);
      for (const name of ['l', 'u', 'w', 'm']) p.call('mkdirat', AT.FDCWD, at(p, `${HERE}/${name}`), 0o755);
      const options = `lowerdir=${HERE}/l,upperdir=${HERE}/u,workdir=${HERE}/w`;
      p.call('mount', at(p, 'stasis'), at(p, `${HERE}/m`), at(p, 'overlay'), 0, at(p, options));
      const fd = p.call('openat', AT.FDCWD, at(p, `${HERE}/m/file`), O.RDWR | O.CREAT, 0o644);
      p.call('ftruncate', fd, PAGE_SIZE);
      p.call('mmap', PLAYGROUND, PAGE_SIZE, PROT.READ | PROT.WRITE, MAP.SHARED | MAP.FIXED_NOREPLACE, fd, 0);
      const status = p.space(STATX_SIZE);
      p.call('statx', fd, at(p, ''), AT.EMPTY_PATH, STATX.BASIC_STATS, status);
      return status;
    });
    const status = program.bytes(built, STATX_SIZE);
    const { ino, devMajor, devMinor } = Statx.decode(status);
    const vma = parseSmaps(readProc(seed.tracee.pid, 'maps')).find(({ start }) => start === PLAYGROUND);
    const same = vma?.ino === ino && vma.devMajor === devMajor && vma.devMinor === devMinor;
    return same ? undefined : 'a mapped file of an overlay is shown as another file';
  });

/** The mount options of autofs show the inode number of the automounter's pipe. */
export const autofsPipe: Probe = () =>
  inThrowaway((seed) => {
    const { program, built } = ask(seed, (p) => {
      const pipe = p.space(8);
      isolate(p);
      p.call('pipe2', pipe, 0);
      return pipe;
    });
    const writer = program.view(built, 8).getInt32(4, true);
    const options = `fd=${writer},minproto=5,maxproto=5,direct`;
    ask(seed, (p) => p.call('mount', at(p, 'stasis'), at(p, HERE), at(p, 'autofs'), 0, at(p, options)));
    const mounts = parseMountInfo(readProc(seed.tracee.pid, 'mountinfo'));
    const told = mounts.some(({ fsType, superOptions }) => fsType === 'autofs' && superOptions.includes('pipe_ino='));
    return told ? undefined : 'mountinfo does not tell the pipe of an automounter';
  });

/** The loginuid of a process can be unset and set again. */
export const loginUid: Probe = () =>
  inThrowaway((seed) => {
    ask(seed, (p) => {
      const fd = p.call('openat', AT.FDCWD, at(p, '/proc/self/loginuid'), O.RDWR);
      p.call('write', fd, at(p, '4294967295'), 10);
    });
    return undefined;
  });

const APPARMOR = '/sys/kernel/security/apparmor/features/domain';

/** Whether AppArmor is enabled on this machine. */
export function appArmorIsOn(): boolean {
  const file = '/sys/module/apparmor/parameters/enabled';
  return existsSync(file) && readFileSync(file, 'latin1').startsWith('Y');
}

/** Namespaces of AppArmor profiles and their stacking, from version 1.2 on. */
export const appArmorStacking: Probe = () => {
  if (!existsSync(`${APPARMOR}/stack`)) return 'there is no AppArmor, or securityfs is not mounted';
  if (readFileSync(`${APPARMOR}/stack`, 'latin1').trim() !== 'yes') return 'AppArmor does not stack profiles';
  const [major = 0, minor = 0] = readFileSync(`${APPARMOR}/version`, 'latin1').trim().split('.').map(Number);
  return major > 1 || (major === 1 && minor >= 2) ? undefined : `AppArmor ${major}.${minor} is older than 1.2`;
};
