/**
 * A cgroup whose tasks are frozen while they are seized (`--freeze-cgroup`), of either version: `freezer.state` of v1,
 * `cgroup.freeze` of v2.
 *
 * If Stasis dies, stopped tasks continue, but a frozen cgroup stays frozen. So a small guard process waits for the
 * death of Stasis and restores the state.
 */
import { type HostPid, hostPid, ownPid } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import { logDebug } from '../../../base/log.ts';
import { cstring, encodeText } from '../../../base/text.ts';
import { AT, O } from '../../../kernel/constants/files.ts';
import { namesIn, tryOpen, tryRead, trySet } from '../../../kernel/files.ts';
import { describeErrno, trySyscall } from '../../../kernel/syscall.ts';
import { Guard } from '../../../tracee/guard.ts';
import { nap } from '../../../tracee/ptrace.ts';

/** The control files of a cgroup version. */
interface Version {
  readonly control: string;
  readonly freeze: string;
  readonly thaw: string;
  readonly report: string;
  /** Matches the state file when all tasks are frozen. */
  readonly frozen: RegExp;
}

const V1: Version = {
  control: 'freezer.state',
  freeze: 'FROZEN',
  thaw: 'THAWED',
  report: 'freezer.state',
  frozen: /^FROZEN$/m,
};
const V2: Version = {
  control: 'cgroup.freeze',
  freeze: '1',
  thaw: '0',
  report: 'cgroup.events',
  frozen: /^frozen 1$/m,
};

/**
 * Milliseconds to wait until all tasks are frozen. Tasks that are not are stopped one by one, as without a cgroup.
 */
const PATIENCE = 250;
const LOOK_EVERY = 200_000;

export class FreezerCgroup implements Disposable {
  readonly #path: string;
  readonly #version: Version;
  /** Whether it was frozen before the dump; it is frozen again afterwards. */
  readonly wasFrozen: boolean;
  #frozen: boolean;
  #guard: Guard | undefined;

  /** @throws StasisError if it is no cgroup with a freezer, or we are in it ourselves */
  constructor(path: string) {
    this.#path = path;
    const version = [V1, V2].find(({ control }) => typeof readText(`${path}/${control}`) === 'string');
    if (!version) throw noFreezer(path);
    this.#version = version;
    this.wasFrozen = !new RegExp(`^${version.thaw}$`, 'm').test(String(readText(`${path}/${version.control}`)));
    this.#frozen = this.wasFrozen;
    if (!this.pids().includes(ownPid())) return;
    const reason = 'Stasis itself is in this cgroup, and would freeze with it';
    throw new StasisError({ kind: 'usage', resource: path, reason, remedy: 'run it from another cgroup' });
  }

  /** The processes of the cgroup and of its descendants. */
  pids(path = this.#path): HostPid[] {
    const text = readText(`${path}/cgroup.procs`);
    const own =
      typeof text === 'string'
        ? text
            .split('\n')
            .filter(Boolean)
            .map((line) => hostPid(Number(line)))
        : [];
    return [...own, ...foldersIn(path).flatMap((folder) => this.pids(folder))];
  }

  /** Freezes the cgroup, and waits a short time for all tasks to be frozen. @throws StasisError */
  freeze(): void {
    this.#guard ??= guard(this.#control, this.wasFrozen ? this.#version.freeze : this.#version.thaw);
    this.#set(true);
    for (const end = performance.now() + PATIENCE; ; nap(LOOK_EVERY)) {
      if (this.#version.frozen.test(String(readText(`${this.#path}/${this.#version.report}`)))) return;
      if (performance.now() < end) continue;
      logDebug(`${this.#path}: not all of its tasks freeze`);
      return;
    }
  }

  /** Thaws the cgroup; tasks that were interrupted by ptrace stop now. @throws StasisError */
  thaw(): void {
    this.#set(false);
    if (!this.wasFrozen) this.#dismissGuard();
  }

  /** Restores the state from before the dump. Called before the tasks continue. @throws StasisError */
  restore(): void {
    if (this.#frozen !== this.wasFrozen) this.#set(this.wasFrozen);
  }

  /** Thaws the cgroup if it is still frozen by Stasis, and ends the guard. */
  [Symbol.dispose](): void {
    if (this.#frozen && !this.wasFrozen) this.#set(false);
    this.#dismissGuard();
  }

  get #control(): string {
    return `${this.#path}/${this.#version.control}`;
  }

  #set(frozen: boolean): void {
    const state = frozen ? this.#version.freeze : this.#version.thaw;
    const result = trySet(this.#control, state);
    if (result < 0) {
      const reason = `could not write ${state}: ${describeErrno(-result)}`;
      throw new StasisError({ kind: 'kernel', resource: this.#control, reason });
    }
    this.#frozen = frozen;
  }

  #dismissGuard(): void {
    this.#guard?.[Symbol.dispose]();
    this.#guard = undefined;
  }
}

/** Starts a guard process that writes a state to a control file when Stasis dies. */
function guard(control: string, state: string): Guard {
  return new Guard((plan) => {
    const file = plan.call('openat', AT.FDCWD, plan.data(cstring(control)), O.WRONLY);
    plan.call('write', file, plan.data(encodeText(state)), state.length);
  });
}

/** The content of a small file, or -errno. */
function readText(path: string): string | number {
  const fd = tryOpen(path, O.RDONLY);
  if (fd < 0) return fd;
  const chunks: string[] = [];
  const bytes = new Uint8Array(16 * 1024);
  let got = tryRead(fd, bytes);
  for (; got > 0; got = tryRead(fd, bytes)) chunks.push(Buffer.from(bytes.subarray(0, got)).toString('latin1'));
  trySyscall('close', fd);
  return got < 0 ? got : chunks.join('');
}

function foldersIn(path: string): string[] {
  return namesIn(path)
    .map((name) => `${path}/${name}`)
    .filter((entry) => {
      const fd = tryOpen(entry, O.RDONLY | O.DIRECTORY);
      if (fd >= 0) trySyscall('close', fd);
      return fd >= 0;
    });
}

function noFreezer(path: string): StasisError {
  return new StasisError({
    kind: 'usage',
    resource: path,
    reason: 'no cgroup that can be frozen: it has neither freezer.state nor cgroup.freeze',
    remedy: 'name the directory of a cgroup below the root of a hierarchy',
  });
}
