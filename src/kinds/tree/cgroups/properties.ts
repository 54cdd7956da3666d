/** The control files of a cgroup that are carried, and what to write to restore them. Pure. */

import type { CgroupProperties } from '../../../contract/contract.ts';

const GLOBAL_V1 = ['cgroup.clone_children', 'notify_on_release', 'cgroup.procs', 'tasks'];
const GLOBAL_V2 = [
  'cgroup.subtree_control',
  'cgroup.max.descendants',
  'cgroup.max.depth',
  'cgroup.freeze',
  'cgroup.type',
];

/**
 * The control files of each controller of cgroup v2, in the order in which they are written. CRIU does not carry them.
 * `cpu.weight.nice` and `cpuset.cpus.effective` only show what others say.
 */
const OF_V2: Readonly<Record<string, readonly string[]>> = {
  cpuset: ['cpuset.cpus', 'cpuset.mems', 'cpuset.cpus.exclusive', 'cpuset.cpus.partition'],
  cpu: ['cpu.weight', 'cpu.idle', 'cpu.max', 'cpu.max.burst', 'cpu.uclamp.min', 'cpu.uclamp.max'],
  memory: [
    ...['memory.min', 'memory.low', 'memory.high', 'memory.max', 'memory.swap.high', 'memory.swap.max'],
    ...['memory.zswap.max', 'memory.zswap.writeback', 'memory.oom.group'],
  ],
  io: ['io.weight', 'io.bfq.weight', 'io.latency', 'io.prio.class', 'io.max'],
  pids: ['pids.max'],
  misc: ['misc.max'],
  rdma: ['rdma.max'],
  dmem: ['dmem.min', 'dmem.low', 'dmem.max'],
  // One for each size of pages; see HUGE_PAGES.
  hugetlb: [],
  pressure: ['cgroup.pressure'],
};

/** `hugetlb.2MB.max` and the like. */
const HUGE_PAGES = /^hugetlb\.\w+\.(rsvd\.)?max$/;

/** Files of v2 whose content is a line for each device or resource, of which each is written by itself. */
const BY_LINES: readonly string[] = [
  ...['io.weight', 'io.bfq.weight', 'io.latency', 'io.max', 'misc.max', 'rdma.max', 'dmem.min', 'dmem.low', 'dmem.max'],
];

/** What takes a line for a device back. */
const NO_LIMIT: Readonly<Record<string, string>> = {
  'io.weight': 'default',
  'io.bfq.weight': 'default',
  'io.latency': 'target=0',
  'io.max': 'rbps=max wbps=max riops=max wiops=max',
};

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

/**
 * The control files carried for a cgroup. `present` are all that it has; v1 hierarchies are asked for each by name.
 * `wanted` is what the user says of controllers (`--cgroup-props`).
 */
export function propertyNames(
  names: readonly string[],
  wanted: readonly CgroupProperties[] = [],
  present: ReadonlySet<string> = new Set(),
): string[] {
  const choose = (controller: string, usual: readonly string[]): readonly string[] =>
    wanted
      .filter((one) => one.controller === controller)
      .reduce((files, { replace, properties }) => [...new Set([...(replace ? [] : files), ...properties])], usual);
  if (names[0] !== '') return [...names.flatMap((name) => choose(name, ofController(name))), ...GLOBAL_V1];
  const controllers = new Set([...Object.keys(OF_V2), ...wanted.map(({ controller }) => controller)]);
  const huge = [...present].filter((file) => HUGE_PAGES.test(file)).sort();
  const files = [...controllers].flatMap((name) => choose(name, name === 'hugetlb' ? huge : (OF_V2[name] ?? [])));
  return [...files, ...GLOBAL_V2].filter((file) => present.has(file));
}

/** The controllers of cgroup v2 that have these control files. */
export function controllersOf(files: readonly string[]): string[] {
  const names = files.map((file) => file.slice(0, file.indexOf('.')));
  return [...new Set(names)].filter((name) => name !== 'cgroup' && name in OF_V2);
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
  // An invalid partition tells why, behind what it should be.
  if (name === 'cpuset.cpus.partition') return value.split(' ')[0] ?? '';
  if (name === 'memory.oom_control') return /^oom_kill_disable (\d+)/m.exec(value)?.[1] ?? '0';
  return value;
}

const EARLY_V1 = new Set([
  'cpuset.cpus',
  'cpuset.mems',
  'devices.list',
  'memory.kmem.limit_in_bytes',
  'memory.swappiness',
  'memory.oom_control',
  'memory.use_hierarchy',
]);

/** Real-time tasks cannot enter a cgroup that has no time for them. */
const FOR_ENTERING = new Set(['cpu.rt_period_us', 'cpu.rt_runtime_us']);

/** Whether a control file can be written only while the cgroup has no tasks and no children. */
export function isEarly(name: string, isV2: boolean): boolean {
  return isV2 ? name === 'cgroup.type' : EARLY_V1.has(name);
}

/** Whether a control file of a new cgroup is written before there are tasks in it. */
export function isFirst(name: string, isV2: boolean): boolean {
  // The cgroups below have the control files of a controller only when it is enabled.
  return isEarly(name, isV2) || FOR_ENTERING.has(name) || (isV2 && name === 'cgroup.subtree_control');
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
  if (BY_LINES.includes(name)) return lineWrites(name, linesOf(wanted), linesOf(current));
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
    case 'cpuset.cpus.partition':
      return [{ file: name, text: wanted, optional: true }];
    case 'cgroup.type':
      return wanted === 'threaded' ? [{ file: name, text: wanted }] : [];
    default:
      return [{ file: name, text: wanted }];
  }
}

function linesOf(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}

/** A write for each line that is to be there, and for each device or resource whose line is not to be there. */
function lineWrites(name: string, wanted: readonly string[], current: readonly string[]): Write[] {
  const subject = (line: string): string => line.slice(0, line.indexOf(' '));
  const kept = new Set(wanted.map(subject));
  const none = NO_LIMIT[name];
  const gone = none === undefined ? [] : current.map(subject).filter((one) => !kept.has(one));
  // The device may not exist on this machine.
  const write = (text: string): Write => ({ file: name, text, optional: !text.startsWith('default ') });
  return [
    ...gone.map((one) => write(`${one} ${none}`)),
    ...wanted.filter((line) => !current.includes(line)).map(write),
  ];
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
