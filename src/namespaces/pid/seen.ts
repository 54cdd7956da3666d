/** The PID namespaces of a tree at a dump: which are inside of which, and who has which numbers. */
import { type HostPid, hostPid } from '../../base/brands.ts';
import type { SeenTree } from '../../contract/contract.ts';
import { KeyedSlot, Slot } from '../../contract/slots.ts';
import { type PidPlace, PidPlaces } from '../../images/pid-places.ts';
import { NS_GET } from '../../kernel/constants/namespaces.ts';
import { tryReadLink } from '../../kernel/files.ts';
import { namespaceOf } from '../../kernel/namespace.ts';
import { readProc } from '../../kernel/proc/read.ts';
import { isInit, type ProcStatus, parseStatus } from '../../kernel/proc/status.ts';
import { unlessGone } from '../../kernel/proc/tree.ts';
import { statusOf } from '../../kernel/statx.ts';
import { Fd, trySyscall } from '../../kernel/syscall.ts';
import { openNamespace } from '../inside.ts';
import { SEEN_NAMESPACES } from '../seen.ts';

/** A PID namespace below that of the root of the tree. */
export interface InnerPids {
  readonly id: number;
  readonly ino: number;
  /** The inode number of its parent. */
  readonly parent: number;
}

/** The PID namespaces of a tree below that of its root, outer ones first. */
export const INNER_PIDS = new Slot((tree: SeenTree): readonly InnerPids[] => {
  const table = SEEN_NAMESPACES.of(tree);
  const root = table.of(tree.root.pid, 'pid');
  const living = table.others.flatMap((namespace) => {
    const { name, id, ino, members } = namespace;
    const [member] = members;
    return name === 'pid' && namespace !== root && member ? [{ id, ino, parent: parentOf(member.pid) }] : [];
  });
  const known = new Set([root?.ino, ...living.map(({ ino }) => ino)]);
  const free = Math.max(...table.others.map(({ id }) => id), 0) + 1;
  // One whose init has ended is still told of by that, as long as nobody has waited for it.
  const ended = tree.dead.flatMap((pid) => {
    const ino = unlessGone(() => namespaceOf(hostPid(pid), 'pid'));
    return ino === undefined || known.has(ino) ? [] : [{ ino, parent: parentOf(hostPid(pid)) }];
  });
  const inner = [...living, ...ended.map((namespace, i) => ({ id: free + i, ...namespace }))];
  return outerFirst(inner, root?.ino ?? 0);
});

/** The inode number of the parent of the PID namespace of a process; 0 if that is beyond our own. */
function parentOf(pid: HostPid): number {
  const found = unlessGone(() => {
    using fd = openNamespace(pid, 'pid');
    const parent = trySyscall('ioctl', fd.number, NS_GET.PARENT, 0);
    if (parent < 0) return 0;
    using opened = new Fd(parent);
    return statusOf(opened.number).ino;
  });
  return found ?? 0;
}

function outerFirst(namespaces: readonly InnerPids[], root: number): InnerPids[] {
  const found: InnerPids[] = [];
  for (let level = new Set([root]); level.size > 0; ) {
    const below = namespaces.filter(({ parent }) => level.has(parent));
    found.push(...below);
    level = new Set(below.map(({ ino }) => ino));
  }
  return found;
}

/** Which numbers images, or a plan, are about: those that the namespace of the root gives, or ours. */
type Numbering = 'saved' | 'here';

/** Who has which numbers in the PID namespaces of a tree; undefined if all are in that of the root. */
export const PID_PLACES = new KeyedSlot((tree: SeenTree, numbering: Numbering): PidPlaces | undefined => {
  const inner = INNER_PIDS.of(tree);
  const forChildren = othersForChildren(tree, numbering);
  if (inner.length === 0 && forChildren.size === 0) return undefined;
  const table = SEEN_NAMESPACES.of(tree);
  const root = table.idsOf(tree.root.pid).pid;
  const ids = new Map(inner.map(({ ino, id }) => [ino, id]));
  const parents = new Map(inner.map(({ id, parent }) => [id, ids.get(parent) ?? root]));
  const numbers = new Map<number, PidPlace>();
  const places = new PidPlaces(root, parents, numbers, forChildren);
  const { depth } = tree.pids;
  /** Notes what is in a list of numbers of one process, session or group, of which some see only the outer ones. */
  const note = (list: readonly number[] | undefined, own: number): void => {
    const seen = (list ?? []).slice(depth);
    const hidden = seen.indexOf(0);
    const visible = hidden < 0 ? seen : seen.slice(0, hidden);
    const namespace = places.chain(own)[visible.length - 1];
    const first = numbering === 'saved' ? visible[0] : list?.[0];
    if (visible.length < 2 || namespace === undefined || first === undefined) return;
    numbers.set(first, { namespace, numbers: [first, ...visible.slice(1)] });
  };
  const look = ({ nsPid, nsSid, nsPgid }: ProcStatus, own: number): void => {
    for (const list of [nsSid, nsPgid, nsPid]) note(list, own);
  };
  for (const { pid, status, threads } of tree.tasks) {
    const own = table.idsOf(pid).pid;
    if (own === root) continue;
    look(status, own);
    for (const thread of threads.slice(1)) note(unlessGone(() => thread.status)?.nsPid, own);
  }
  for (const pid of tree.dead.map(hostPid)) {
    const own = ids.get(unlessGone(() => namespaceOf(pid, 'pid')) ?? 0);
    const status = unlessGone(() => parseStatus(readProc(pid, 'status')));
    if (own !== undefined && status) look(status, own);
  }
  return places;
});

/** The namespaces in which processes have their next children, by the numbers of these; 0 for one that is not there. */
function othersForChildren(tree: SeenTree, numbering: Numbering): ReadonlyMap<number, number> {
  const found = new Map<number, number>();
  for (const { pid } of tree.tasks) {
    const other = PIDS_FOR_CHILDREN.of(tree, pid);
    if (other === undefined) continue;
    found.set(numbering === 'saved' ? tree.pids.saved(pid) : pid, other === 'new' ? 0 : (other.id ?? 0));
  }
  return found;
}

/**
 * The PID namespace in which a process has its next children, after unshare(2) or setns(2), if it is another than its
 * own. Until the first of them exists, that has no init, and the kernel shows no link (pidns_for_children_get()). Its
 * ID is undefined if no process of the tree is in it.
 */
export const PIDS_FOR_CHILDREN = new KeyedSlot((tree: SeenTree, pid: HostPid): PidsForChildren => {
  const table = SEEN_NAMESPACES.of(tree);
  const own = table.of(pid, 'pid');
  const link = tryReadLink(`/proc/${pid}/ns/pid_for_children`);
  if (!own || link === `pid:[${own.ino}]`) return undefined;
  if (typeof link !== 'string') {
    // Kernels before 4.12 show it for nobody.
    const isShown = typeof tryReadLink('/proc/self/ns/pid_for_children') === 'string';
    return isShown && unlessGone(() => namespaceOf(pid, 'pid')) !== undefined ? 'new' : undefined;
  }
  const ino = Number(/\d+/.exec(link));
  return { id: INNER_PIDS.of(tree).find((inner) => inner.ino === ino)?.id };
});

type PidsForChildren = 'new' | { readonly id: number | undefined } | undefined;

/**
 * The inits of a tree whose end somebody outside may hold up: an init waits until nobody of its namespace is left
 * (zap_pid_ns_processes() in kernel/pid_namespace.c), and those whose parent is in our own PID namespace are waited for
 * by whoever gets the children of that.
 */
export function heldUpInits(tree: SeenTree): ReadonlySet<HostPid> {
  const inner = INNER_PIDS.of(tree);
  if (inner.length === 0) return new Set();
  const table = SEEN_NAMESPACES.of(tree);
  const byIno = new Map(inner.map((namespace) => [namespace.ino, namespace]));
  const ours = new Set(tree.tasks.filter(({ status }) => (status.nsPid?.length ?? 1) === 1).map(({ pid }) => pid));
  const held = new Set<number>();
  for (const { pid, status, stat } of tree.tasks) {
    if (isInit(status) || !ours.has(hostPid(stat.ppid))) continue;
    const ino = table.of(pid, 'pid')?.ino;
    for (let at = byIno.get(ino ?? 0); at; at = byIno.get(at.parent)) held.add(at.ino);
  }
  const inits = tree.tasks.filter(({ pid, status }) => isInit(status) && held.has(table.of(pid, 'pid')?.ino ?? 0));
  return new Set(inits.map(({ pid }) => pid));
}
