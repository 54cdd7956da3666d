/** Saves the sets of cgroups that tasks are in, and the directories of these cgroups. */
import { StasisError } from '../../../base/errors.ts';
import { logWarn } from '../../../base/log.ts';
import type { CarryOptions, CgroupProperties, DumpContext, SeenNamespace } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { Images } from '../../../images/kinds.ts';
import type { CgControllerEntry, CgroupDirEntry, CgroupPropEntry, CgSetEntry } from '../../../images/schema/cgroup.ts';
import { S_IF } from '../../../kernel/constants/files.ts';
import { parseCgroup } from '../../../kernel/proc/cgroup.ts';
import { readProc } from '../../../kernel/proc/read.ts';
import { CGROUP_ROOTS } from '../../../namespaces/cgroup/seen.ts';
import { Hierarchies, type Hierarchy, label } from './hierarchy.ts';
import { isTaskList, propertyNames, savedValue } from './properties.ts';
import { below, isOf, type Member, membersOf, namesOf, pathOf, rootFor, sameMembers } from './sets.ts';

/** The ID of the first set that is described; that of the process that dumps is 1. */
const FIRST_ID = 2;

/** Saves the set that a text of /proc/PID/cgroup tells, and answers its ID. */
export function newSet(context: DumpContext, bytes: Uint8Array, namespace: SeenNamespace | undefined): number {
  const members = membersOf(parseCgroup(bytes)).filter((member) => isReachable(member) && isAsked(member, context));
  const roots = namespace && !namespace.ours ? CGROUP_ROOTS.of(context.tree, namespace) : undefined;
  return CGROUPS.of(context).setOf(roots ? members.map((member) => withRoot(member, roots.get(member.name))) : members);
}

/** A place with the root of the cgroup namespace. No root is told if it is that of the hierarchy. */
function withRoot(member: Member, root = '/'): Member {
  return root === '/' ? member : { ...member, cgns_prefix: root.length };
}

/** Whether the user wants a hierarchy to be carried (`--cgroup-dump-controller`): all, if none is named. */
function isAsked({ name }: Member, { options }: DumpContext): boolean {
  const { cgroupControllers: asked } = options;
  return asked.length === 0 || namesOf(name).some((one) => asked.includes(one.replace(/^name=/, '')));
}

/** Whether a cgroup is inside of our cgroup namespace; others cannot be accessed. */
function isReachable({ name, path }: Member): boolean {
  const reachable = path !== '/..' && !path.startsWith('/../');
  if (!reachable)
    logWarn('cgroups', `${label(name, path)}: outside of our cgroup namespace: the task will not be put back`);
  return reachable;
}

/** Builds cgroup.img. */
class SavedCgroups {
  readonly #options: CarryOptions;
  readonly #sets: CgSetEntry[] = [];
  readonly #controllers: CgControllerEntry[];

  constructor(context: DumpContext) {
    this.#options = context.options;
    const own = parseCgroup(readProc('self', 'cgroup'));
    // As in CRIU: controllers in the kernel's order; named hierarchies are added when first seen.
    this.#controllers = own
      .filter(({ controllers, name }) => controllers.length > 0 || name === undefined)
      .map(({ controllers }) => newController(controllers.join(',')));
    context.append(Images.cgroup, { sets: this.#sets, controllers: this.#controllers });
  }

  /** The ID of a set. Its directories are described when it is first seen. */
  setOf(members: readonly Member[]): number {
    const known = this.#sets.find(({ ctls }) => sameMembers(ctls, members));
    if (known) return known.id;
    const id = FIRST_ID + this.#sets.length;
    if (this.#options.manageCgroups !== 'ignore') this.#describe(members);
    this.#sets.push({ id, ctls: [...members] });
    return id;
  }

  #describe(members: readonly Member[]): void {
    using hierarchies = new Hierarchies(this.#options.cgroupYard);
    for (const { name, path, cgns_prefix } of members) {
      const controller = this.#controllerOf(name);
      const root = rootFor(namesOf(name), this.#options.cgroupRoot);
      // What is below the root of a cgroup namespace is delegated to it, and belongs to the tree as a whole.
      const top = root ?? pathOf(cgns_prefix === undefined ? path : path.slice(0, cgns_prefix));
      if (controller.dirs.some((dir) => below(top, pathOf(dir.dir_name)) !== undefined)) continue;
      const hierarchy = reach(hierarchies, name);
      if (!hierarchy) continue;
      const dir = describe(hierarchy, controller.cnames, top, top.slice(1), this.#options.cgroupProperties);
      if (!dir) throw missing(name, top);
      if (dir.threaded) controller.is_threaded = true;
      controller.dirs.push(dir.entry);
    }
  }

  #controllerOf(name: string): CgControllerEntry {
    const known = this.#controllers.find((controller) => isOf(controller, name));
    if (known) return known;
    const made = newController(name);
    this.#controllers.push(made);
    return made;
  }
}

const CGROUPS = new Slot((context: DumpContext) => new SavedCgroups(context));

/** A hierarchy that cannot be mounted is left undescribed: its cgroups have to be there at the restore. */
function reach(hierarchies: Hierarchies, name: string): Hierarchy | undefined {
  try {
    return hierarchies.get(name);
  } catch (error) {
    if (!(error instanceof StasisError) || error.kind === 'usage') throw error;
    logWarn('cgroups', `${error.message}: its cgroups are not saved`);
    return undefined;
  }
}

function newController(name: string): CgControllerEntry {
  return { cnames: namesOf(name), dirs: [], is_threaded: false };
}

function missing(hierarchy: string, path: string): StasisError {
  return new StasisError({
    kind: 'conflict',
    code: 'CGROUP_MISSING',
    resource: label(hierarchy, path),
    reason: 'there is no such cgroup',
    remedy: '--cgroup-root names the cgroup all tasks are below',
  });
}

/** A cgroup with all its descendants; undefined if it does not exist any more. */
function describe(
  hierarchy: Hierarchy,
  names: readonly string[],
  path: string,
  name: string,
  wanted: readonly CgroupProperties[],
): { entry: CgroupDirEntry; threaded: boolean } | undefined {
  const status = hierarchy.status(path);
  if (!status) return undefined;
  const present = new Set(names[0] === '' ? hierarchy.names(path) : []);
  const properties = settable(
    propertyNames(names, wanted, present).flatMap((file) => property(hierarchy, path, file) ?? []),
    names[0] === '',
  );
  let threaded = properties.some((p) => p.name === 'tasks' || (p.name === 'cgroup.type' && p.value === 'threaded'));
  const children: CgroupDirEntry[] = [];
  // The link count of a directory shows the number of its subdirectories, of which most cgroups have none.
  for (const child of status.nlink > 2 ? hierarchy.names(path) : []) {
    const below = path === '/' ? `/${child}` : `${path}/${child}`;
    if (((hierarchy.status(below)?.mode ?? 0) & S_IF.MT) !== S_IF.DIR) continue;
    const found = describe(hierarchy, names, below, child, wanted);
    if (!found) continue;
    children.push(found.entry);
    threaded ||= found.threaded;
  }
  const { mode, uid, gid } = status;
  return { entry: { dir_name: name, children, properties, dir_perms: { mode, uid, gid } }, threaded };
}

/** Those of the control files that can be set to what they say. */
function settable(properties: CgroupPropEntry[], isV2: boolean): CgroupPropEntry[] {
  if (!isV2) return properties;
  // The weight of an idle cgroup shows as 0, which cannot be written. An empty file tells of no limits.
  const isIdle = properties.some(({ name, value }) => name === 'cpu.idle' && value === '1');
  return properties.filter(({ name, value }) => {
    if (name === 'cpu.weight') return !isIdle;
    return value !== '' || name.startsWith('cgroup.');
  });
}

/** A control file; undefined where there is none. */
function property(hierarchy: Hierarchy, path: string, name: string): CgroupPropEntry | undefined {
  const status = hierarchy.status(path, name);
  if (!status) return undefined;
  const content = isTaskList(name) ? '' : hierarchy.read(path, name);
  if (content === undefined) return undefined;
  return { name, value: savedValue(name, content), perms: { mode: status.mode, uid: status.uid, gid: status.gid } };
}
