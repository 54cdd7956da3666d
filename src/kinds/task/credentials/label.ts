/** The label that a security module (SELinux, AppArmor) has given a thread. */
import { StasisError } from '../../../base/errors.ts';
import { cstring, encodeText } from '../../../base/text.ts';
import type { DumpThread, RestoreContext, RestoreThread } from '../../../contract/contract.ts';
import type { InputOf } from '../../../images/message.ts';
import type { CredsEntry, credsEntry } from '../../../images/schema/task.ts';
import { AT, O } from '../../../kernel/constants/files.ts';
import { readLabel, readSocketLabel } from '../../../kernel/proc/label.ts';
import { describeErrno } from '../../../kernel/syscall.ts';
import { ownLabel } from '../../../support/own-label.ts';

/**
 * The fields of the image for a thread's label. CRIU knows two modules, and writes no field for an unconfined AppArmor
 * label.
 */
export function labelFields({
  tid,
  ref,
  context,
}: DumpThread): Pick<InputOf<typeof credsEntry>, 'lsm_profile' | 'lsm_sockcreate'> {
  const own = ownLabel(context);
  const label = own && readLabel(tid);
  if (!label || (label.module === 'apparmor' && label.unconfined)) return {};
  if (label.module === 'other') {
    if (label.text !== own.text)
      context.notice({ task: ref, reason: `its security label ${label.text} is not carried` });
    return {};
  }
  const sockets = label.module === 'selinux' ? readSocketLabel(tid) : undefined;
  return { lsm_profile: label.text, ...(sockets === undefined ? {} : { lsm_sockcreate: sockets }) };
}

/**
 * Checks that the label the user wishes for can be one of this machine.
 * @throws StasisError (conflict)
 */
export function requireModule(context: RestoreContext): void {
  const wish = context.options.securityLabel;
  const module = ownLabel(context)?.module;
  if (!wish || wish.module === 'none' || wish.module === module) return;
  throw new StasisError({
    kind: 'conflict',
    code: 'SECURITY_LABEL',
    resource: `--lsm-profile ${wish.module}:${wish.text}`,
    reason: module
      ? `the labels of this machine are those of ${module}`
      : 'no security module of this machine gives labels',
    remedy: 'leave the option out, or write none: for tasks that had a label',
  });
}

/** Gives the thread its label instead of ours. This comes last, since the label may forbid much. @throws StasisError */
export function rebuildLabel(thread: RestoreThread, creds: CredsEntry): void {
  const wish = thread.context.options.securityLabel;
  if (wish?.module === 'none') return;
  const { lsm_profile: saved, lsm_sockcreate: sockets } = creds;
  const wanted = wish?.text ?? saved;
  const own = ownLabel(thread.context);
  if (wanted !== undefined && wanted !== own?.text) {
    if (!own) throw refusal(thread, wanted, 'no security module of this machine gives labels');
    write(thread, 'current', own.module === 'apparmor' ? `changeprofile ${wanted}` : wanted, wanted);
    // The module may interpret what is written in another way, so the result is read from outside.
    const is = readLabel(thread.tracee.pid)?.text;
    if (is !== wanted) throw refusal(thread, wanted, `cannot be given: the label is ${is ?? 'unreadable'}`);
  } else if (wanted === undefined && own && !own.unconfined) {
    const reason = `it had no security label, and has that of Stasis now: ${own.text}`;
    thread.context.notice({ task: thread.ref, reason });
  }
  if (sockets !== undefined) write(thread, 'sockcreate', sockets, sockets);
}

/**
 * Writes an attribute, by which the thread gets a label. Only the thread itself may, through a file it has opened
 * (proc_pid_attr_write()).
 */
function write(thread: RestoreThread, name: string, text: string, label: string): void {
  const path = cstring(`/proc/thread-self/attr/${name}`);
  const bytes = encodeText(text);
  const program = thread.batch.reserve(3, path.length + bytes.length);
  const file = program.attempt('openat', AT.FDCWD, program.data(path), O.WRONLY | O.CLOEXEC, 0);
  const written = program.attempt('write', file, program.data(bytes), bytes.length);
  program.attempt('close', file);
  thread.batch.after((done) => {
    const opened = done.result(file);
    const errno = -(opened < 0 ? opened : done.result(written));
    if (errno > 0) throw refusal(thread, label, `cannot be given: ${describeErrno(errno)}`);
  });
  thread.batch.flush();
}

function refusal({ ref }: RestoreThread, label: string, reason: string): StasisError {
  return new StasisError({
    kind: 'permission',
    code: 'SECURITY_LABEL',
    task: ref,
    resource: `security label ${label}`,
    reason,
    remedy: 'load the policy that has it, or restore with --lsm-profile',
  });
}
