/**
 * Makes the mounts of a namespace again, as they are planned, with the calls that work with descriptors. Stasis is
 * inside of the namespace meanwhile, which begins as a copy of our own. All new mounts are stacked on its root, the new
 * root last; then that takes the place of the old one, which is detached with everything on it.
 */
import type { LocalFd } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import type { CarryOptions, MadeNamespace, RestoreContext } from '../../contract/contract.ts';
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
import { statusOf } from '../../kernel/statx.ts';
import { arenaPath, describeErrno, ERRNO, Fd, SyscallError, syscall, trySyscall } from '../../kernel/syscall.ts';
import { inside as insideNamespace } from '../inside.ts';
import { INSIDE } from '../user/inside.ts';
import { restoreContents } from './contents.ts';
import { ALL_ATTRIBUTES, attributesOf, type Mount, nameOf } from './mount.ts';
import type { Base, Group, MountPlan, MountStep } from './plan.ts';
import { makeReadOnly, mountAgain, openContexts } from './remount.ts';
import { withRemovedRoot } from './removed-root.ts';
import { missingSource, sourcePath } from './sources.ts';
import { makeMountedTerminals } from './terminals.ts';
import { WORKSHOP, type Workshop } from './workshop.ts';

/** Makes the mounts of a namespace. Returns a descriptor of its root. @throws StasisError naming the mount */
export function buildMounts(plan: MountPlan, namespace: MadeNamespace, context: RestoreContext): LocalFd {
  return new Builder(plan, namespace, context).build();
}

class Builder {
  readonly #plan: MountPlan;
  readonly #namespace: MadeNamespace;
  readonly #context: RestoreContext;
  readonly #options: CarryOptions;
  readonly #workshop: Workshop;
  /** The bases that are attached in this namespace, where they can be copied from. */
  readonly #attached = new Map<string, Fd>();

  constructor(plan: MountPlan, namespace: MadeNamespace, context: RestoreContext) {
    this.#plan = plan;
    this.#namespace = namespace;
    this.#context = context;
    this.#options = context.options;
    this.#workshop = WORKSHOP.of(context);
  }

  build(): LocalFd {
    this.#copySources();
    for (const { id, from } of this.#plan.groups) if ('path' in from) this.#joinOutside(id, from.path);
    this.#mountAgain();
    return insideNamespace('mnt', this.#namespace.fd, () => {
      using oldRoot = new Fd(syscall('openat', AT.FDCWD, arenaPath('/'), O.PATH | O.DIRECTORY | O.CLOEXEC));
      changeMount(oldRoot.number, { propagation: MS.PRIVATE, recursive: true }, 'the mounts of Stasis');
      try {
        for (const base of this.#bases) this.#attachBase(base, oldRoot.number);
        for (const group of this.#plan.groups) this.#prepareGroup(group);
        // The kernel lists mounts in the order in which they are made, so they are made in the order of the images.
        for (const step of this.#plan.steps.toSorted((a, b) => a.index - b.index)) this.#make(step);
        for (const step of this.#plan.steps) this.#place(step, oldRoot.number);
      } finally {
        for (const fd of this.#attached.values()) fd[Symbol.dispose]();
      }
      const root = this.#mount(this.#plan.steps[0]?.mount.id ?? 0).number;
      enter(root, oldRoot.number, this.#attached.size);
      for (const group of this.#plan.groups) this.#beginGroup(group);
      for (const { mount } of this.#plan.steps) this.#propagate(mount);
      return root;
    });
  }

  /**
   * Mounts and fills the file systems that are made again. Stasis is outside of the namespace still: inside of a nested
   * one there are neither the images nor its own `/proc`.
   */
  #mountAgain(): void {
    const remade = this.#bases.filter(({ key }) => !this.#workshop.bases.has(key));
    const { first } = this.#namespace;
    if (!first) throw new StasisError({ kind: 'internal', reason: 'a mount namespace that no process has made' });
    const contexts = openContexts(remade, first);
    contexts.forEach((context, i) => {
      const base = remade[i];
      if (!base) return;
      this.#workshop.remounted.push({ mount: base.mount, context });
      const mount = mountAgain(base, context, this.#context);
      this.#workshop.bases.set(base.key, mount);
      // It belongs to the user namespace of whoever has opened its context.
      const inside = INSIDE.of(this.#context, first.pid);
      using _ = inside && new FileOwner(inside);
      restoreContents(base.mount, mount.number, this.#context);
      makeMountedTerminals(base, mount, this.#plan.steps, this.#context);
    });
  }

  /** Each base once. */
  get #bases(): Base[] {
    const { steps, groups } = this.#plan;
    const all = [
      ...steps.map(({ base }) => base),
      ...groups.flatMap(({ from }) => ('base' in from ? [from.base] : [])),
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
      const path = sourcePath(base, this.#options);
      if (path === undefined) continue;
      const opened = trySyscall('openat', AT.FDCWD, arenaPath(path), O.PATH | O.CLOEXEC);
      if (opened < 0) throw missingSource(base, path, -opened);
      using source = new Fd(opened);
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
    using at = on && on.at !== '' ? this.#openPlace(mount, on.parent, on.at) : undefined;
    const to = at?.number ?? (on ? this.#mount(on.parent).number : oldRoot);
    const ready = this.#workshop.mounts.get(mount.id);
    if (ready) this.#attach(mount, ready, to);
    else this.#withRemovedRoot(step, to, (root) => this.#attach(mount, this.#cloneFor(mount, root), to));
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

  #attach(mount: Mount, made: Fd, to: LocalFd): void {
    changeMount(made.number, { set: attributesOf(mount), clear: ALL_ATTRIBUTES }, nameOf(mount));
    if ((mount.flags & MS.RDONLY) !== 0) this.#workshop.readOnly.push({ mount, namespace: this.#namespace.id });
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

  #openPlace(mount: Mount, parent: number, path: string): Fd {
    const opened = tryOpenOnMount(this.#mount(parent).number, path);
    if (opened < 0) throw lost(mount, 'the place where it is mounted', -opened);
    return new Fd(opened);
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

/** Makes mounts of a namespace and file systems read-only: the last step, when no file is opened any more. */
export function finishMounts({ id, fd }: MadeNamespace, context: RestoreContext): void {
  const { remounted, readOnly, mounts } = WORKSHOP.of(context);
  const own = readOnly.filter(({ namespace }) => namespace === id);
  const change = (): void => {
    for (const { mount } of own) {
      const made = mounts.get(mount.id);
      if (made) changeMount(made.number, { set: MOUNT_ATTR.RDONLY }, nameOf(mount));
    }
  };
  if (own.length > 0) insideNamespace('mnt', fd, change);
  for (const made of remounted.splice(0)) {
    if ((made.mount.superFlags & MS.RDONLY) !== 0) makeReadOnly(made);
    made.context[Symbol.dispose]();
  }
}
