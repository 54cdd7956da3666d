/**
 * Restores cgroups: makes the directories as the mode requires, moves tasks and threads, then sets the limits.
 */
import type { HostPid } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import { logDebug, logInfo, logWarn } from '../../../base/log.ts';
import type { RestoreContext, RestoreTask, RestoreThread } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { ImageError } from '../../../images/error.ts';
import { Images } from '../../../images/kinds.ts';
import type {
  CgControllerEntry,
  CgroupDirEntry,
  CgroupEntry,
  CgroupPerms,
  CgroupPropEntry,
} from '../../../images/schema/cgroup.ts';
import { parseCgroup } from '../../../kernel/proc/cgroup.ts';
import { readProc } from '../../../kernel/proc/read.ts';
import type { FileStatus } from '../../../kernel/statx.ts';
import { ERRNO } from '../../../kernel/syscall.ts';
import { MADE_NAMESPACES, SAVED_IDS, wasOurs } from '../../../namespaces/made.ts';
import { Hierarchies, type Hierarchy, LEAVE_ALONE, label, refused } from './hierarchy.ts';
import { controllersOf, isEarly, isFirst, isTaskList, savedValue, writesFor } from './properties.ts';
import { isOf, type Member, membersOf, pathOf, rebased } from './sets.ts';

/** Makes the cgroups that are missing. */
export function prepare(context: RestoreContext): void {
  if (context.options.manageCgroups !== 'ignore') CGROUPS.of(context);
}

/**
 * Moves a process to its cgroups, before it has memory that is charged. Until then it is in the cgroups of its maker.
 */
export function enter(task: RestoreTask): void {
  const { context, pid } = task;
  if (context.options.manageCgroups === 'ignore') return;
  const { cgroup } = SAVED_IDS.of(context, pid);
  // The root of a cgroup namespace is where its first member is when it makes it, which is after this phase.
  const makesNamespace = !wasOurs(context, 'cgroup', cgroup) && !MADE_NAMESPACES.of(context).get('cgroup', cgroup);
  CGROUPS.of(context).move(task, setOf(task), makesNamespace);
}

/** Moves a helper to cgroups, which are made if they are missing. Returns false where cgroups are left alone. */
export function moveHelper(context: RestoreContext, pid: HostPid, places: readonly Member[]): boolean {
  if (context.options.manageCgroups === 'ignore') return false;
  const [{ controllers } = NONE] = context.images.read(Images.cgroup);
  const sets = [{ id: 0, ctls: places.map((place) => ({ ...place })) }];
  const [set] = rebased({ sets, controllers }, context.options.cgroupRoot).sets;
  CGROUPS.of(context).moveHelper(pid, set?.ctls ?? []);
  return true;
}

/** Moves a process that has made a cgroup namespace from its root to its own cgroups. */
export function leaveRoot(task: RestoreTask): void {
  const { context, pid } = task;
  if (context.options.manageCgroups === 'ignore') return;
  const made = MADE_NAMESPACES.of(context).get('cgroup', SAVED_IDS.of(context, pid).cgroup);
  if (made?.first === task) CGROUPS.of(context).move(task, setOf(task), false);
}

/** Moves a thread to its cgroups, if they differ from those of its process. */
export function enterThread(thread: RestoreThread): void {
  if (thread.context.options.manageCgroups === 'ignore' || setOf(thread) === setOf(thread.process)) return;
  CGROUPS.of(thread.context).move(thread, setOf(thread), false);
}

/** The ID of a thread's cgroup set. Old images have one for the process only. */
function setOf({ core, process }: RestoreThread): number {
  return core.thread_core?.cg_set || (process.core.thread_core?.cg_set ?? 0);
}

/** Sets the limits, when all tasks are in place and the work that must not be limited is done. */
export function limit(context: RestoreContext): void {
  if (context.options.manageCgroups !== 'ignore') CGROUPS.of(context).setLimits();
}

/** The cgroups of the images. Missing ones are made. */
const CGROUPS = new Slot((context: RestoreContext) => {
  const { root_cg_set } = context.images.inventory();
  const [image] = context.images.read(Images.cgroup);
  const saved = new SavedCgroups(context, root_cg_set ?? 0, rebased(image ?? NONE, context.options.cgroupRoot));
  if (saved.image.sets.length > 0) saved.makeDirectories();
  return saved;
});

const NONE: CgroupEntry = { sets: [], controllers: [] };

const isAt =
  (hierarchy: string) =>
  ({ name }: Member): boolean =>
    name === hierarchy;

/** Control files still to be set. */
interface Pending {
  readonly hierarchy: string;
  readonly path: string;
  readonly properties: readonly CgroupPropEntry[];
  /** Whether the cgroup existed before; its previous values are then put back if the restore fails. */
  readonly existed: boolean;
}

/** The cgroups of an image while they are restored. */
class SavedCgroups {
  readonly image: CgroupEntry;
  /** The ID of the cgroup set of the process that dumped, which is not in the image. */
  readonly dumper: number;
  readonly #context: RestoreContext;
  readonly #hierarchies: Hierarchies;
  readonly #pending: Pending[] = [];
  /** Cgroups known not to be frozen. */
  readonly #thawed = new Set<string>();
  /** Our own cgroups, in which the first task starts. */
  readonly #own: readonly Member[];

  constructor(context: RestoreContext, dumper: number, image: CgroupEntry) {
    this.image = image;
    this.dumper = dumper;
    this.#context = context;
    this.#hierarchies = new Hierarchies(context.options.cgroupYard);
    this.#own = image.sets.length === 0 ? [] : membersOf(parseCgroup(readProc('self', 'cgroup')));
    context.atEnd(() => this.#hierarchies[Symbol.dispose]());
  }

  /** Makes missing directories. @throws StasisError when the mode does not allow that, or the kernel does not */
  makeDirectories(): void {
    for (const controller of this.image.controllers) {
      // Hierarchies in which nothing has to be made are skipped, since mounting one that does not exist would create
      // it.
      if (controller.dirs.every((dir) => pathOf(dir.dir_name) === '/' && dir.children.length === 0)) continue;
      const hierarchy = this.#mounted(controller);
      for (const dir of hierarchy ? controller.dirs : []) this.#directory(hierarchy as Hierarchy, '/', dir);
    }
  }

  /** Moves a process with all its threads, or one thread, to the cgroups of a set, or to the roots in it. */
  move(thread: RestoreThread, id: number, toRoots: boolean): void {
    if (this.image.sets.length === 0) return;
    const wanted = toRoots ? this.#placesOf(id).map(rootOf) : this.#placesOf(id);
    const now = membersOf(parseCgroup(readProc(thread.process.tracee.pid, `task/${thread.tracee.pid}/cgroup`)));
    for (const { name } of [...this.#own, ...wanted.filter((member) => !this.#own.some(isAt(member.name)))]) {
      const path = pathOf(wanted.find(isAt(name))?.path ?? this.#ownPath(name));
      if (path !== (now.find(isAt(name))?.path ?? '/')) this.#enter(thread, name, path);
    }
  }

  /** Moves a process that is none of the tree's. */
  moveHelper(pid: HostPid, places: readonly Member[]): void {
    const now = membersOf(parseCgroup(readProc(pid, 'cgroup')));
    for (const { name, path: wanted } of places) {
      const path = pathOf(wanted);
      if (path === (now.find(isAt(name))?.path ?? '/')) continue;
      const hierarchy = this.#hierarchies.get(name);
      const mode = this.#context.options.manageCgroups;
      if (!hierarchy.status(path)) {
        if (mode === 'none' || mode === 'props') throw notMade(name, path, mode);
        this.#make(hierarchy, path);
      }
      this.#requireThawed(hierarchy, path);
      const result = hierarchy.write(path, 'cgroup.procs', String(pid));
      if (result < 0) throw refused(name, path, 'a helper cannot be moved there', -result);
    }
  }

  /** The cgroups of a set. Tasks that were in the cgroups of the process that dumped them go to ours. */
  #placesOf(id: number): readonly Member[] {
    if (id === 0 || id === this.dumper) return this.#own;
    const set = this.image.sets.find((candidate) => candidate.id === id);
    if (!set) throw new ImageError({ file: 'cgroup.img', field: 'sets', reason: `there is no set ${id}` });
    return set.ctls;
  }

  #enter(thread: RestoreThread, name: string, path: string): void {
    const hierarchy = this.#hierarchies.get(name);
    this.#requireThawed(hierarchy, path);
    const alone = thread !== thread.process;
    const list = !alone ? 'cgroup.procs' : name === '' ? 'cgroup.threads' : 'tasks';
    const result = hierarchy.write(path, list, String(thread.tracee.pid));
    if (result < 0)
      throw refused(name, path, `${alone ? 'thread' : 'task'} ${thread.tid} cannot be moved there`, -result);
    logDebug(`${alone ? 'thread' : 'task'} ${thread.tid} is in ${label(name, path)}`);
  }

  /** Refuses a frozen cgroup, in which a task could execute nothing, not even our calls. */
  #requireThawed(hierarchy: Hierarchy, path: string): void {
    const key = `${hierarchy.name} ${path}`;
    if (this.#thawed.has(key)) return;
    this.#thawed.add(key);
    const state = hierarchy.read(path, hierarchy.name === '' ? 'cgroup.events' : 'freezer.state') ?? '';
    if (!/^(FROZEN|FREEZING|frozen 1)$/m.test(state)) return;
    throw new StasisError({
      kind: 'conflict',
      code: 'CGROUP_FROZEN',
      resource: label(hierarchy.name, path),
      reason: 'it is frozen: nothing could be restored in it',
      remedy: `thaw it; ${LEAVE_ALONE}`,
    });
  }

  /** Sets the control files that could not be set before the tasks were in place. */
  setLimits(): void {
    for (const { hierarchy, path, properties, existed } of this.#pending) {
      for (const property of properties) this.#set(this.#hierarchies.get(hierarchy), path, property, existed);
    }
  }

  /** Calls `work` with a hierarchy that is mounted again; for undoing, when the mounts in use may be closed. */
  #again(hierarchy: string, work: (hierarchy: Hierarchy) => void): void {
    using hierarchies = new Hierarchies(this.#context.options.cgroupYard);
    work(hierarchies.get(hierarchy));
  }

  #ownPath(hierarchy: string): string {
    return this.#own.find(({ name }) => name === hierarchy)?.path ?? '/';
  }

  /** The hierarchy of a controller; undefined if it cannot be mounted but all tasks stay in our cgroup. */
  #mounted(controller: CgControllerEntry): Hierarchy | undefined {
    try {
      return this.#hierarchies.get(controller.cnames.join(','));
    } catch (error) {
      const places = this.image.sets.flatMap(({ ctls }) => ctls.filter(({ name }) => isOf(controller, name)));
      if (!(error instanceof StasisError) || places.some(({ name, path }) => path !== this.#ownPath(name))) throw error;
      logWarn('cgroups', `${error.message}; the tasks are in the right cgroup of it already`);
      return undefined;
    }
  }

  #directory(hierarchy: Hierarchy, parent: string, dir: CgroupDirEntry): void {
    const path = pathOf(parent, dir.dir_name);
    const status = hierarchy.status(path);
    // The root of a hierarchy always exists and must not be changed.
    if (path !== '/') {
      if (status) this.#adopt(hierarchy, path, dir, status);
      else this.#create(hierarchy, path, dir);
    }
    for (const child of dir.children) this.#directory(hierarchy, path, child);
  }

  #adopt(hierarchy: Hierarchy, path: string, dir: CgroupDirEntry, status: FileStatus): void {
    const mode = this.#context.options.manageCgroups;
    if (mode === 'strict') throw unwanted(hierarchy.name, path, 'it exists already, which strict does not allow');
    if (mode !== 'none') this.#permit(hierarchy, path, '', dir.dir_perms, status, true);
    if (mode !== 'full' && mode !== 'props') return;
    const properties = dir.properties.filter(({ name }) => !isEarly(name, hierarchy.name === ''));
    this.#pending.push({ hierarchy: hierarchy.name, path, properties, existed: true });
  }

  #create(hierarchy: Hierarchy, path: string, dir: CgroupDirEntry): void {
    const mode = this.#context.options.manageCgroups;
    if (mode === 'none' || mode === 'props') throw notMade(hierarchy.name, path, mode);
    this.#make(hierarchy, path);
    const isV2 = hierarchy.name === '';
    if (isV2) this.#enable(hierarchy, path, controllersOf(dir.properties.map(({ name }) => name)));
    const status = hierarchy.status(path);
    if (status) this.#permit(hierarchy, path, '', dir.dir_perms, status, false);
    for (const property of dir.properties) {
      if (isFirst(property.name, isV2)) this.#set(hierarchy, path, property, false);
    }
    const properties = dir.properties.filter(({ name }) => !isFirst(name, isV2));
    this.#pending.push({ hierarchy: hierarchy.name, path, properties, existed: false });
  }

  /** Makes a cgroup and its missing parents. */
  #make(hierarchy: Hierarchy, path: string): void {
    const above = path.slice(0, path.lastIndexOf('/'));
    if (above !== '' && !hierarchy.status(above)) this.#make(hierarchy, above);
    hierarchy.make(path);
    this.#context.undo(() => this.#again(hierarchy.name, (again) => again.remove(path)));
    logInfo(`${label(hierarchy.name, path)} is made`);
    // A new v1 cpuset has no CPUs and no memory nodes, so that no task can enter it and none below it can have any.
    for (const file of ['cpuset.cpus', 'cpuset.mems']) {
      if (!hierarchy.name.split(',').includes('cpuset') || hierarchy.read(path, file)?.trim() !== '') continue;
      hierarchy.write(path, file, hierarchy.read(above === '' ? '/' : above, file) ?? '');
    }
  }

  /**
   * Enables controllers of cgroup v2 for a new cgroup: a cgroup has the control files of those that are enabled in all
   * cgroups above it. What cannot be enabled is told when its control files are missing.
   */
  #enable(hierarchy: Hierarchy, path: string, controllers: readonly string[]): void {
    const has = (file: string, at: string, name: string): boolean =>
      (hierarchy.read(at, file) ?? '').split(/\s+/).includes(name);
    const above = path.split('/').slice(0, -1);
    const ancestors = above.map((_, i) => above.slice(0, i + 1).join('/') || '/');
    for (const name of controllers.filter((one) => !has('cgroup.controllers', path, one))) {
      for (const ancestor of ancestors) {
        if (has('cgroup.subtree_control', ancestor, name)) continue;
        if (hierarchy.write(ancestor, 'cgroup.subtree_control', `+${name}`) < 0) break;
        logInfo(`${label('', ancestor)}: controller ${name} is enabled`);
        this.#context.undo(() =>
          this.#again('', (again) => void again.write(ancestor, 'cgroup.subtree_control', `-${name}`)),
        );
      }
    }
  }

  /** Sets one control file to its saved value, unless it has it. */
  #set(hierarchy: Hierarchy, path: string, property: CgroupPropEntry, existed: boolean): void {
    const { name, value, perms } = property;
    if (name === '' || name.includes('/')) {
      throw new ImageError({ file: 'cgroup.img', field: 'properties', reason: `impossible name "${name}"` });
    }
    const where = `${label(hierarchy.name, path)}/${name}`;
    if (FREEZERS.has(name)) {
      if (value !== '0' && value !== 'THAWED') logWarn('cgroups', `${where}: is not set: the tasks are to run`);
      return;
    }
    const status = hierarchy.status(path, name);
    if (!status) {
      logWarn('cgroups', `${where}: this kernel has no such file; it said ${value}`);
      return;
    }
    this.#permit(hierarchy, path, name, perms, status, existed);
    if (isTaskList(name)) return;
    const current = savedValue(name, hierarchy.read(path, name) ?? '');
    if (existed && current !== value) {
      this.#context.undo(() =>
        this.#again(hierarchy.name, (again) => {
          for (const { file, text } of writesFor(name, current, value)) again.write(path, file, text);
        }),
      );
    }
    for (const { file, text, optional } of writesFor(name, value, current)) {
      const result = hierarchy.write(path, file, text);
      if (result === 0) continue;
      if (!optional && result !== -ERRNO.EOPNOTSUPP) {
        throw refused(hierarchy.name, path, `${file} cannot be set to ${text}`, -result);
      }
      logWarn('cgroups', `${where}: cannot be set to ${text} on this machine`);
    }
  }

  /** Sets owner and mode of a cgroup, or of a control file in it, if they differ. */
  #permit(
    hierarchy: Hierarchy,
    path: string,
    file: string,
    perms: CgroupPerms | undefined,
    { uid, gid, mode }: FileStatus,
    existed: boolean,
  ): void {
    if (!perms || (perms.uid === uid && perms.gid === gid && (perms.mode & 0o7777) === (mode & 0o7777))) return;
    if (existed) {
      this.#context.undo(() => this.#again(hierarchy.name, (again) => again.own(path, file, uid, gid, mode)));
    }
    hierarchy.own(path, file, perms.uid, perms.gid, perms.mode);
  }
}

/** The root of the cgroup namespace of a place. */
function rootOf({ name, path, cgns_prefix: prefix }: Member): Member {
  return { name, path: prefix === undefined || prefix === 0 ? '/' : path.slice(0, prefix) };
}

/** Control files that freeze tasks. */
const FREEZERS = new Set(['cgroup.freeze', 'freezer.state']);

function notMade(hierarchy: string, path: string, mode: string): StasisError {
  return unwanted(hierarchy, path, `it does not exist, and ${mode} makes none`);
}

function unwanted(hierarchy: string, path: string, reason: string): StasisError {
  return new StasisError({
    kind: 'conflict',
    code: 'CGROUP_MISSING',
    resource: label(hierarchy, path),
    reason,
    remedy: `${LEAVE_ALONE}, --manage-cgroups=soft makes what is missing`,
  });
}
