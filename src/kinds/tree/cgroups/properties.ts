/** The control files of a cgroup that are carried, and what to write to restore them. Pure. */

const GLOBAL_V1 = ['cgroup.clone_children', 'notify_on_release', 'cgroup.procs', 'tasks'];
const GLOBAL_V2 = [
  'cgroup.subtree_control',
  'cgroup.max.descendants',
  'cgroup.max.depth',
  'cgroup.freeze',
  'cgroup.type',
];

/**
 * The control files of a controller, in the order in which they have to be written: for example, memsw must never be
 * below the limit.
 */
function ofController(name: string): readonly string[] {
  switch (name) {
    case 'cpu':
      return ['shares', 'cfs_period_us', 'cfs_quota_us', 'rt_period_us', 'rt_runtime_us'].map((word) => `cpu.${word}`);
    case 'memory':
      return [
        'limit_in_bytes',
        'memsw.limit_in_bytes',
        'swappiness',
        'soft_limit_in_bytes',
        'move_charge_at_immigrate',
        'oom_control',
        'use_hierarchy',
        'kmem.limit_in_bytes',
        'kmem.tcp.limit_in_bytes',
      ].map((word) => `memory.${word}`);
    case 'cpuset':
      return [
        'cpus',
        'mems',
        'memory_migrate',
        'cpu_exclusive',
        'mem_exclusive',
        'mem_hardwall',
        'memory_spread_page',
        'memory_spread_slab',
        'sched_load_balance',
        'sched_relax_domain_level',
      ].map((word) => `cpuset.${word}`);
    case 'blkio':
      return ['blkio.weight'];
    case 'net_cls':
      return ['net_cls.classid'];
    case 'net_prio':
      return ['net_prio.ifpriomap'];
    case 'pids':
      return ['pids.max'];
    case 'devices':
      return ['devices.list'];
    default:
      return [];
  }
}

/** The control files carried for a hierarchy with these names; some may not exist in this kernel or directory. */
export function propertyNames(names: readonly string[]): string[] {
  return [...names.flatMap(ofController), ...(names[0] === '' ? GLOBAL_V2 : GLOBAL_V1)];
}

/** Lists of tasks: only their owner and mode are carried. */
export function isTaskList(name: string): boolean {
  return name === 'cgroup.procs' || name === 'tasks';
}

/** The value v1 shows for no limit, which is set by writing -1. */
const UNLIMITED = '9223372036854775807';

/** The value of a control file for the image, in a form that can be written to it again. */
export function savedValue(name: string, content: string): string {
  const value = content.endsWith('\n') ? content.slice(0, -1) : content;
  if (value === UNLIMITED) return '-1';
  if (name === 'memory.oom_control') return /^oom_kill_disable (\d+)/m.exec(value)?.[1] ?? '0';
  return value;
}

const EARLY = new Set([
  'cpuset.cpus',
  'cpuset.mems',
  'devices.list',
  'memory.kmem.limit_in_bytes',
  'memory.swappiness',
  'memory.oom_control',
  'memory.use_hierarchy',
  'cgroup.type',
]);

/** Real-time tasks cannot enter a cgroup that has no time for them. */
const FOR_ENTERING = new Set(['cpu.rt_period_us', 'cpu.rt_runtime_us']);

/** Whether a control file can be written only while the cgroup has no tasks and no children. */
export function isEarly(name: string): boolean {
  return EARLY.has(name);
}

/** Whether a control file of a new cgroup is written before there are tasks in it. */
export function isFirst(name: string): boolean {
  return EARLY.has(name) || FOR_ENTERING.has(name);
}

/** One write(2). The kernel takes one value, one line, or one list of changes at a time. */
export interface Write {
  readonly file: string;
  readonly text: string;
  /** Whether a failure is accepted, since the object (a network device) may not exist on this machine. */
  readonly optional?: boolean;
}

/** The writes that change a control file from `current` to `wanted`. */
export function writesFor(name: string, wanted: string, current: string): Write[] {
  if (wanted === current || isTaskList(name)) return [];
  switch (name) {
    case 'devices.list':
      // devices.list itself cannot be written. Everything is denied first, then each saved line is allowed.
      return [{ file: 'devices.deny', text: 'a' }, ...linesOf(wanted).map((text) => ({ file: 'devices.allow', text }))];
    case 'net_prio.ifpriomap':
      return linesOf(wanted)
        .filter((line) => !line.endsWith(' 0'))
        .map((text) => ({ file: name, text, optional: true }));
    case 'cgroup.subtree_control': {
      const text = changes(wanted, current);
      return text === '' ? [] : [{ file: name, text }];
    }
    case 'cgroup.type':
      return wanted === 'threaded' ? [{ file: name, text: wanted }] : [];
    default:
      return [{ file: name, text: wanted }];
  }
}

function linesOf(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}

/** `-` for each word to switch off, `+` for each to switch on. */
function changes(wanted: string, current: string): string {
  const words = (text: string): string[] => text.split(' ').filter((word) => word !== '');
  const [on, off] = [words(wanted), words(current)];
  return [
    ...off.filter((word) => !on.includes(word)).map((word) => `-${word}`),
    ...on.filter((word) => !off.includes(word)).map((word) => `+${word}`),
  ].join(' ');
}
