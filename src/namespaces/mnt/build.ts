/**
 * Makes the mounts of a namespace again, as they are planned, with the calls that work with descriptors. Stasis is
 * inside of the namespace meanwhile, which begins as a copy of our own. All new mounts are stacked on its root, the new
 * root last; then that takes the place of the old one, which is detached with everything on it.
 */
import { type LocalFd, localFd } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import { addTo } from '../../base/lists.ts';
import type { MadeNamespace, RestoreContext } from '../../contract/contract.ts';
import { FileOwner } from '../../kernel/act-as.ts';
import { AT, O, S_IF } from '../../kernel/constants/files.ts';
import { MNT_DETACH, MOUNT_ATTR, MS } from '../../kernel/constants/mounts.ts';
import {
  attachMount,
  changeMount,
  cloneMount,
  joinMountGroup,
  tryCloneMount,
  tryOpenOnMount,
} from '../../kernel/mounts.ts';
import { idMapOf } from '../../kernel/statmount.ts';
import { statusOf } from '../../kernel/statx.ts';
import { arenaPath, describeErrno, ERRNO, Fd, SyscallError, syscall, trySyscall } from '../../kernel/syscall.ts';
import { inside as insideNamespace, openNamespace } from '../inside.ts';
import { insideOwner } from '../user/inside.ts';
import { restoreContents } from './contents.ts';
import { makeMappedUsers, mapOwners } from './idmap.ts';
import { findArrived, MeetingPoint, openPrivateRoot } from './locked.ts';
import { ALL_ATTRIBUTES, attributesOf, type Mount, nameOf } from './mount.ts';
import { type Base, type Group, lockedPart, type MountPlan, type MountStep } from './plan.ts';
import { mountAgain, openContexts } from './remount.ts';
import { withRemovedRoot } from './removed-root.ts';
import { missingSource, sourcePath } from './sources.ts';
import { makeMountedTerminals } from './terminals.ts';
import { WORKSHOP, type Workshop } from './workshop.ts';

/** Makes the mounts of a namespace. Returns a descriptor of its root. @throws StasisError naming the mount */
export function buildMounts(plan: MountPlan, namespace: MadeNamespace, context: RestoreContext): LocalFd {
  return new Builder(plan, namespace, context).build();
}

/**
 * Adds mounts to a namespace that has been built. `on` are those that they are attached to, which are private
 * meanwhile, so that nothing propagates.
 */
export function addMounts(
  plan: MountPlan,
  on: readonly Mount[],
  namespace: MadeNamespace,
  context: RestoreContext,
): void {
  new Builder(plan, namespace, context).add(on);
}

class Builder {
  readonly #plan: MountPlan;
  readonly #namespace: MadeNamespace;
  readonly #context: RestoreContext;
  readonly #workshop: Workshop;
  /** The bases that are attached in the namespace that Stasis is in, where they can be copied from. */
  readonly #attached = new Map<string, Fd>();
  /** How many were, when mounts were put together there. */
  #stacked = 0;
  /** The IDs of the mounts that come into the namespace locked, and of those among them that can be reached there. */
  readonly #locked = new Set<number>();
  readonly #reached = new Set<number>();

  constructor(plan: MountPlan, namespace: MadeNamespace, context: RestoreContext) {
    this.#plan = plan;
    this.#namespace = namespace;
    this.#context = context;
    this.#workshop = WORKSHOP.of(context);
  }

  build(): LocalFd {
    this.#copySources();
    for (const { id, from } of this.#plan.groups) if ('path' in from) this.#joinOutside(id, from.path);
    for (const { mount } of this.#plan.steps) this.#prepareOwners(mount);
    this.#mountAgain();
    using home = openNamespace('self', 'mnt');
    return insideNamespace('mnt', this.#namespace.fd, () => {
      using oldRoot = openPrivateRoot();
      const { steps } = this.#plan;
      const part = lockedPart(steps.map(({ mount }) => mount));
      const locked = part.size > 1 ? steps.filter(({ mount }) => part.has(mount.id)) : [];
      if (locked.length > 0) this.#bringLocked(locked, home.number, oldRoot.number);
      this.#assemble(
        steps.filter((step) => !locked.includes(step)),
        oldRoot.number,
      );
      const root = this.#mount(steps[0]?.mount.id ?? 0).number;
      enter(root, oldRoot.number, this.#stacked + (locked.length > 0 ? 1 : 0));
      for (const group of this.#plan.groups) this.#beginGroup(group);
      for (const { mount } of steps) this.#propagate(mount);
      return root;
    });
  }

  add(on: readonly Mount[]): void {
    this.#copySources();
    const sharing = on.filter(({ shared, master }) => shared !== 0 || master !== 0);
    const { steps, groups } = this.#plan;
    insideNamespace('mnt', this.#namespace.fd, () => {
      for (const mount of sharing) {
        changeMount(this.#mount(mount.id).number, { propagation: MS.PRIVATE }, nameOf(mount));
      }
      for (const step of steps) this.#place(step, this.#namespace.fd);
      for (const group of groups) this.#beginGroup(group);
      for (const mount of [...steps.map((step) => step.mount), ...sharing]) this.#propagate(mount);
    });
  }

  /** Makes mounts and puts them together; the root of the namespace on `oldRoot`, which the bases are stacked on. */
  #assemble(steps: readonly MountStep[], oldRoot: LocalFd): void {
    try {
      for (const base of this.#basesOf(steps)) this.#attachBase(base, oldRoot);
      for (const group of this.#plan.groups) this.#prepareGroup(group);
      // The kernel lists mounts in the order in which they are made, so they are made in the order of the images.
      for (const step of steps.toSorted((a, b) => a.index - b.index)) this.#make(step);
      for (const step of steps) this.#place(step, oldRoot);
    } finally {
      for (const fd of this.#attached.values()) fd[Symbol.dispose]();
      this.#stacked = this.#attached.size;
      this.#attached.clear();
    }
  }

  /** Makes the mounts of a namespace that are locked, with its root, elsewhere, and has them come into it. */
  #bringLocked(steps: readonly MountStep[], home: LocalFd, oldRoot: LocalFd): void {
    for (const { mount } of steps) this.#locked.add(mount.id);
    const meeting = new MeetingPoint(oldRoot);
    this.#workshop.meetings.push(meeting);
    const root = (): LocalFd => this.#mount(steps[0]?.mount.id ?? 0).number;
    const arrived = meeting.bring(home, (elsewhere) => {
      this.#assemble(steps, elsewhere);
      return root();
    });
    for (const { mount, fd } of findArrived(steps, arrived)) {
      this.#mount(mount.id)[Symbol.dispose]();
      this.#workshop.mounts.set(mount.id, fd);
      this.#reached.add(mount.id);
    }
  }

  /**
   * Mounts and fills the file systems that are made again. Stasis is outside of the namespace still: inside of a nested
   * one there are neither the images nor its own `/proc`.
   */
  #mountAgain(): void {
    const remade = this.#bases.filter(({ key }) => !this.#workshop.bases.has(key));
    const { first, maker = first } = this.#namespace;
    if (!maker) throw new StasisError({ kind: 'internal', reason: 'a mount namespace that no process has made' });
    const contexts = openContexts(remade, maker);
    contexts.forEach((context, i) => {
      const base = remade[i];
      if (!base) return;
      this.#workshop.remounted.push({ mount: base.mount, context });
      const mount = mountAgain(base, context, this.#context);
      this.#workshop.bases.set(base.key, mount);
      // It belongs to the user namespace of whoever has opened its context.
      const inside = insideOwner(this.#namespace, this.#context);
      using _ = inside && new FileOwner(inside);
      restoreContents(base.mount, mount.number, this.#context);
      makeMountedTerminals(base, mount, this.#plan.steps, this.#context);
    });
  }

  /** Each base of the namespace once. */
  get #bases(): Base[] {
    return this.#basesOf(this.#plan.steps);
  }

  /** Each base of some mounts, and of the groups, once. */
  #basesOf(steps: readonly MountStep[]): Base[] {
    const all = [
      ...steps.map(({ base }) => base),
      ...this.#plan.groups.flatMap(({ from }) => ('base' in from ? [from.base] : [])),
    ];
    return [...new Map(all.map((base) => [base.key, base])).values()];
  }

  #mount(id: number): Fd {
    const mount = this.#workshop.mounts.get(id);
    if (mount) return mount;
    throw new StasisError({ kind: 'internal', reason: `mount ${id} is used before it is made` });
  }

  /** Copies what comes from the machine, while Stasis is in its own namespace. */
  #copySources(): void {
    const { steps, groups } = this.#plan;
    for (const base of this.#bases) {
      const path = sourcePath(base, this.#context);
      if (path === undefined) continue;
      const opened = trySyscall('openat', AT.FDCWD, arenaPath(path), O.PATH | O.CLOEXEC);
      if (opened < 0) throw missingSource(base, path, -opened);
      using source = new Fd(opened);
      if (typeof idMapOf(source.number) === 'object') this.#workshop.mapped.add(base.key);
      const what = `${nameOf(base.mount)}, from ${path}`;
      if ((statusOf(source.number).mode & S_IF.MT) !== S_IF.DIR) {
        // A file cannot be attached to a directory, so each mount of it is made here.
        for (const { mount } of steps.filter((step) => step.base.key === base.key)) {
          this.#workshop.mounts.set(mount.id, privateClone(source.number, what));
        }
        for (const { id, from } of groups) {
          if (!('base' in from) || from.base.key !== base.key || this.#workshop.groups.has(id)) continue;
          this.#workshop.groups.set(id, privateClone(source.number, what));
        }
      }
      if (!this.#workshop.bases.has(base.key)) {
        this.#workshop.bases.set(base.key, privateClone(source.number, what));
      }
    }
  }

  /**
   * Attaches a base to the root of the namespace. Before Linux 6.15 open_tree(2) copies only mounts that are attached
   * in the namespace of the caller. Another copy is kept for further namespaces.
   */
  #attachBase(base: Base, oldRoot: LocalFd): void {
    const what = nameOf(base.mount);
    const mount = this.#workshop.bases.get(base.key);
    if (!mount || (statusOf(mount.number).mode & S_IF.MT) !== S_IF.DIR) return;
    this.#attached.set(base.key, mount);
    attachMount(mount.number, oldRoot, what);
    this.#workshop.bases.set(base.key, privateClone(mount.number, what));
  }

  /** Makes a mount and attaches it where it belongs. */
  #place(step: MountStep, oldRoot: LocalFd): void {
    const { mount, on } = step;
    const at = on && on.at !== '' ? this.#openPlace(mount, on.parent, on.at) : undefined;
    const to = at ?? (on ? this.#mount(on.parent).number : oldRoot);
    const ready = this.#workshop.mounts.get(mount.id);
    if (ready) this.#attach(step, ready, to);
    else this.#withRemovedRoot(step, to, (root) => this.#attach(step, this.#cloneFor(mount, root), to));
  }

  /** Makes a mount whose root is there. */
  #make({ mount, base, below }: MountStep): void {
    if (mount.deleted || this.#workshop.mounts.has(mount.id)) return;
    const from = this.#attachedBase(base);
    if (below === '') {
      this.#cloneFor(mount, from);
      return;
    }
    const opened = tryOpenOnMount(from, below);
    if (opened < 0) throw lost(mount, `its root ${below} on ${nameOf(base.mount)}`, -opened);
    using root = new Fd(opened);
    this.#cloneFor(mount, root.number);
  }

  #cloneFor(mount: Mount, root: LocalFd): Fd {
    const made = privateClone(root, nameOf(mount));
    this.#workshop.mounts.set(mount.id, made);
    return made;
  }

  #attachedBase({ key, mount }: Base): LocalFd {
    const base = this.#attached.get(key);
    if (base) return base.number;
    throw new StasisError({ kind: 'internal', reason: `${nameOf(mount)} is copied before it is attached` });
  }

  /** Makes the user namespace that a mount has its owners from. */
  #prepareOwners({ id, idMap }: Mount): void {
    if (idMap && idMap !== 'unknown') this.#workshop.owners.set(id, makeMappedUsers(idMap));
  }

  #attach({ mount, base }: MountStep, made: Fd, to: LocalFd): void {
    const owners = this.#workshop.owners.get(mount.id);
    // What has come from a mount with maps has them.
    if (owners && !this.#workshop.mapped.has(base.key)) mapOwners(made.number, owners.number, mount);
    const isReadOnly = (mount.flags & MS.RDONLY) !== 0;
    // What is locked cannot become read-only later and be locked as that.
    const isNow = isReadOnly && this.#locked.has(mount.id);
    const set = attributesOf(mount) | (isNow ? MOUNT_ATTR.RDONLY : 0);
    changeMount(made.number, { set, clear: ALL_ATTRIBUTES }, nameOf(mount));
    if (isReadOnly && !isNow) this.#workshop.readOnly.push({ mount, namespace: this.#namespace.id });
    attachMount(made.number, to, nameOf(mount));
  }

  /**
   * Calls `work` with a descriptor of a root that was removed. It is there meanwhile: a mount of what has no name
   * cannot be attached (get_mountpoint() in fs/namespace.c). `to` is what the mount will be attached to.
   */
  #withRemovedRoot({ mount, base, below }: MountStep, to: LocalFd, work: (root: LocalFd) => void): void {
    // Directories are mounted on directories only, and other files on others.
    const isDirectory = (statusOf(to).mode & S_IF.MT) === S_IF.DIR;
    withRemovedRoot(this.#attachedBase(base), below, isDirectory, mount, work);
  }

  /** Opens what is mounted over. The descriptor leads there also afterwards. */
  #openPlace(mount: Mount, parent: number, path: string): LocalFd {
    const opened = tryOpenOnMount(this.#mount(parent).number, path);
    if (opened < 0) throw lost(mount, 'the place where it is mounted', -opened);
    const fd = localFd(opened);
    addTo(this.#workshop.covered, parent, { path: mount.mountPoint, fd });
    return fd;
  }

  /** Makes the mount that is to begin a group, while its base is attached. */
  #prepareGroup({ id, from }: Group): void {
    if (!('base' in from) || this.#workshop.groups.has(id)) return;
    this.#workshop.groups.set(id, privateClone(this.#attachedBase(from.base), `peer group ${id}`));
  }

  /** Enters a group of the machine: a copy of a mount is in the group of that mount. */
  #joinOutside(id: number, path: string): void {
    if (this.#workshop.groups.has(id)) return;
    const fd = tryCloneMount(AT.FDCWD, path);
    if (fd >= 0) this.#workshop.groups.set(id, new Fd(fd));
  }

  #beginGroup({ id, master, from }: Group): void {
    if ('path' in from || this.#workshop.begun.has(id)) return;
    this.#workshop.begun.add(id);
    const mount = this.#workshop.groups.get(id);
    if (!mount) return;
    const what = `peer group ${id}`;
    const of = this.#workshop.groups.get(master);
    if (of) {
      joinMountGroup(of.number, mount.number, what);
      changeMount(mount.number, { propagation: MS.SLAVE }, what);
    }
    changeMount(mount.number, { propagation: MS.SHARED }, what);
  }

  /** Makes a mount a member, or a slave, of its group. */
  #propagate(mount: Mount): void {
    const made = this.#mount(mount.id).number;
    const group = mount.shared !== 0 ? mount.shared : mount.master;
    const from = this.#workshop.groups.get(group);
    if (this.#locked.has(mount.id) && !this.#reached.has(mount.id)) {
      if (group !== 0) this.#alone(mount);
      return;
    }
    if (group !== 0 && !from) this.#alone(mount);
    else if (from && this.#join(from.number, made, mount, group) && mount.shared === 0) {
      changeMount(made, { propagation: MS.SLAVE }, nameOf(mount));
    }
    if (mount.unbindable) changeMount(made, { propagation: MS.UNBINDABLE }, nameOf(mount));
  }

  #join(from: LocalFd, made: LocalFd, mount: Mount, group: number): boolean {
    try {
      joinMountGroup(from, made, nameOf(mount));
      return true;
    } catch (error) {
      const outside = this.#plan.groups.some(({ id, from }) => id === group && 'path' in from);
      // The mount of the machine is in no group here (do_set_group() in fs/namespace.c).
      if (!outside || !(error instanceof SyscallError) || error.errno !== ERRNO.EINVAL) throw error;
      this.#alone(mount);
      return false;
    }
  }

  #alone(mount: Mount): void {
    const reason = 'it shared its mounts with one outside of the tree, which is not there or does not share them now';
    this.#context.notice({ resource: nameOf(mount), reason });
  }
}

function lost(mount: Mount, what: string, errno: number): StasisError {
  return new StasisError({
    kind: 'conflict',
    code: 'MOUNT_PLACE',
    resource: nameOf(mount),
    reason: `${what} cannot be opened: ${describeErrno(errno)}`,
    remedy: 'put the directory back where it was',
  });
}

/** A private copy of a mount, attached nowhere. */
function privateClone(at: LocalFd, what: string): Fd {
  const mount = cloneMount(at, '', what);
  try {
    changeMount(mount.number, { propagation: MS.PRIVATE }, what);
    return mount;
  } catch (error) {
    mount[Symbol.dispose]();
    throw error;
  }
}

/** Makes a mount the root of the namespace, and detaches the one that was, with the mounts stacked on it. */
function enter(root: LocalFd, oldRoot: LocalFd, stacked: number): void {
  syscall('fchdir', root);
  const here = arenaPath('.');
  const done = trySyscall('pivot_root', here, here);
  if (done < 0) throw new SyscallError('pivot_root', -done, { resource: 'the root of the mount namespace' });
  // The old root is on top of the new one now, with the bases on it: umount2(2) takes the topmost of a stack.
  syscall('fchdir', oldRoot);
  for (let mounts = stacked + 1; mounts > 0; mounts--) syscall('umount2', arenaPath('.'), MNT_DETACH);
}
