/**
 * `/proc/PID/attr/current`: the label a security module has given a task (SELinux: its context, AppArmor: its profile
 * and how that is applied). Without such a module it cannot be read.
 */
import type { HostPid } from '../../base/brands.ts';
import { O } from '../constants/files.ts';
import { tryOpen, tryRead } from '../files.ts';
import { trySyscall } from '../syscall.ts';
import { latin1, textOf } from './common.ts';

/** The label of a task. */
export interface SecurityLabel {
  readonly module: 'selinux' | 'apparmor' | 'other';
  /** SELinux's context, or AppArmor's profile without its mode. */
  readonly text: string;
  /** Whether the task may do what it might without the module. */
  readonly unconfined: boolean;
}

/** AppArmor's modes, as it prints them behind a profile (aa_label_asxprint()). */
const PROFILE = /^(.*) \((?:enforce|complain|kill|prompt|user|mixed|unconfined)\)$/s;
/** user:role:type:level */
const CONTEXT = /^[^:]+:[^:]+:([^:]+):/;

/** Reads a label as the kernel prints it, with a newline or a NUL at its end; undefined if there is none. */
export function parseLabel(bytes: Uint8Array): SecurityLabel | undefined {
  const text = textOf(latin1(bytes).replace(/[\n\0]+$/, ''));
  if (text === '') return undefined;
  if (text === 'unconfined') return { module: 'apparmor', text, unconfined: true };
  const profile = PROFILE.exec(text)?.[1];
  if (profile !== undefined) return { module: 'apparmor', text: profile, unconfined: false };
  const type = CONTEXT.exec(text)?.[1];
  if (type !== undefined) return { module: 'selinux', text, unconfined: type.startsWith('unconfined_') };
  return { module: 'other', text, unconfined: false };
}

/** The label of a task or thread; undefined where no module gives labels, or the task is gone. */
export function readLabel(tid: HostPid | 'self'): SecurityLabel | undefined {
  // Where several modules give labels, `current` may be the label of another module.
  const bytes = readAttribute(tid, 'apparmor/current') ?? readAttribute(tid, 'current');
  return bytes && parseLabel(bytes);
}

/** The label new sockets of a task get, if it has asked for one (SELinux). */
export function readSocketLabel(tid: HostPid): string | undefined {
  const bytes = readAttribute(tid, 'sockcreate');
  return bytes && parseLabel(bytes)?.text;
}

const LONGEST = 4096;

function readAttribute(tid: HostPid | 'self', name: string): Uint8Array | undefined {
  const fd = tryOpen(`/proc/${tid}/attr/${name}`, O.RDONLY);
  if (fd < 0) return undefined;
  const bytes = new Uint8Array(LONGEST);
  const length = tryRead(fd, bytes);
  trySyscall('close', fd);
  return length > 0 ? bytes.subarray(0, length) : undefined;
}
