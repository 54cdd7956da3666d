/**
 * PID namespaces. The root of the tree, if it is the init of its namespace, is born in it; so are the inits of those
 * further in, which their parents make. Images hold the numbers that the namespace of the root gives; those further in
 * are in a file of our own (images/pid-places.ts). The numbers that processes have further out are neither saved nor
 * made again.
 */
import { StasisError } from '../../base/errors.ts';
import { Part } from '../../base/part.ts';
import type { DumpContext, NamespaceDoors, SeenNamespace, SeenTask, SeenTree } from '../../contract/contract.ts';
import { Images } from '../../images/kinds.ts';
import { KCMP } from '../../kernel/constants/files.ts';
import { isInit } from '../../kernel/proc/status.ts';
import { trySyscall } from '../../kernel/syscall.ts';
import { externalName } from '../external.ts';
import { parentIn, SEEN_NAMESPACES, usersDownTo } from '../seen.ts';
import { INNER_PIDS } from './seen.ts';

// For namespaces that no process is in.
const EMPTY = new Part(() => require('./empty.ts') as typeof import('./empty.ts'));

function obstacles(namespace: SeenNamespace, tree: SeenTree): StasisError[] {
  const { root } = tree;
  const [member] = namespace.members;
  if (!member) return EMPTY.load().emptyObstacle(namespace, tree);
  const refuse = (
    code: 'NAMESPACE_PID_NESTED' | 'NAMESPACE_PID_INIT' | 'NAMESPACE_USER_PIDS',
    task: SeenTask,
    reason: string,
    remedy: string,
  ) =>
    new StasisError({
      kind: 'unsupported',
      code,
      task: task.ref,
      resource: `pid namespace ${namespace.ino}`,
      reason,
      remedy,
      object: { type: 'pid namespace', inode: namespace.ino },
    });
  if (SEEN_NAMESPACES.of(tree).of(root.pid, 'pid') === namespace) {
    if (isInit(root.status) || externalName(namespace, tree.options)) return [];
    const reason = 'the root of the tree is not the init (PID 1) of its PID namespace, without which there is none';
    const another = `--external 'pid[${namespace.ino}]:NAME', and give another one at the restore (--inherit-fd)`;
    return [refuse('NAMESPACE_PID_INIT', root, reason, `name with -t the process that is PID 1 in it; or ${another}`)];
  }
  if (!namespace.members.some(({ status }) => isInit(status))) {
    const reason = 'the init (PID 1) of its PID namespace is not a process of the tree';
    return [refuse('NAMESPACE_PID_NESTED', member, reason, 'name with -t a process that is above that as well')];
  }
  if (!INNER_PIDS.of(tree).some(({ ino }) => ino === namespace.ino)) {
    const reason = 'no process of the tree is in the PID namespace around its own';
    return [refuse('NAMESPACE_PID_NESTED', member, reason, 'name with -t a process of that')];
  }
  const strangers = strangersTo(namespace, tree).map((task) => {
    const reason = 'it belongs to a user namespace in which whoever makes its processes has no rights';
    return refuse('NAMESPACE_USER_PIDS', task, reason, 'name with -t the init (PID 1) of the PID namespace');
  });
  const sharing = namespace.members.filter(
    (task) => isInit(task.status) && sharesThoughMadeApart(task, namespace, tree),
  );
  const remedy =
    'name with -t the init (PID 1) of the PID namespace, or have the program start it without CLONE_VM and CLONE_FILES';
  return strangers.concat(
    sharing.map((task) => {
      const reason = 'its init shares memory or descriptors with its parent, and belongs to another user namespace';
      return refuse('NAMESPACE_USER_PIDS', task, reason, remedy);
    }),
  );
}

/**
 * Whether an init shares something with its parent that it could not share after a restore, since another process makes
 * it: in a user namespace further in than that of its parent, to which the PID namespace belongs.
 */
function sharesThoughMadeApart(task: SeenTask, { owner }: SeenNamespace, tree: SeenTree): boolean {
  const parent = parentIn(tree, task);
  if (!parent || !owner || SEEN_NAMESPACES.of(tree).of(parent.pid, 'user') === owner) return false;
  return [KCMP.VM, KCMP.FILES].some((type) => trySyscall('kcmp', task.pid, parent.pid, type, 0, 0) === 0);
}

/**
 * Processes of a PID namespace whose parents could not make them there: it belongs to a user namespace that these are
 * neither in nor around (create_user_ns() in kernel/user_namespace.c, pidns_install() in kernel/pid_namespace.c). An
 * init is made in the user namespace that the PID namespace belongs to, and enters its own from there.
 */
function strangersTo(namespace: SeenNamespace, tree: SeenTree): SeenTask[] {
  const table = SEEN_NAMESPACES.of(tree);
  const isAround = (users: SeenNamespace | undefined, owner: SeenNamespace | undefined): boolean =>
    !users || users.ours || usersDownTo(owner).includes(users);
  return namespace.members.filter((task) => {
    const own = table.of(task.pid, 'user');
    const parent = parentIn(tree, task);
    if (!parent) return false;
    const maker = table.of(parent.pid, 'user');
    const from = table.of(parent.pid, 'pid');
    if (isInit(task.status)) {
      return !isAround(maker, namespace.owner) || (namespace.owner !== undefined && !isAround(namespace.owner, own));
    }
    if (from === namespace) return false;
    // It asks for another namespace, and for its own again.
    return !isAround(maker, namespace.owner) || !isAround(maker, from?.ours ? undefined : from?.owner);
  });
}

/** Of a namespace that somebody else makes images have the name alone. */
function capture(namespace: SeenNamespace, { tree, images, options }: DumpContext): void {
  const key = externalName(namespace, options);
  if (key === undefined || SEEN_NAMESPACES.of(tree).of(tree.root.pid, 'pid') !== namespace) return;
  images.write(Images.pidns, namespace.id, [{ ext_key: key }]);
}

export const pidNamespace: NamespaceDoors = { obstacles, capture };
