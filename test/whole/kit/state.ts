/**
 * Everything /proc tells of a task that a dump and a restore must not change. Read before and after, compared as text,
 * so that a difference names itself.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { type ProcVma, parseSmaps } from '../../../src/kernel/proc/smaps.ts';
import { parseStat } from '../../../src/kernel/proc/stat.ts';

/** Name of the item → its value, as text. */
export type TaskState = ReadonlyMap<string, string>;

/**
 * Lines of /proc/PID/status that stay. Not: what the task is doing, what it has used, who its parent and tracer are.
 */
const STATUS = [
  ...['Name', 'Umask', 'Tgid', 'Ngid', 'Pid', 'Uid', 'Gid', 'Groups', 'NStgid', 'NSpid', 'NSpgid', 'NSsid', 'Threads'],
  ...['SigPnd', 'ShdPnd', 'SigBlk', 'SigIgn', 'SigCgt', 'CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs'],
  ...['Seccomp', 'Seccomp_filters', 'Cpus_allowed', 'Mems_allowed', 'VmLck', 'CoreDumping', 'THP_enabled'],
];
const FILES = [
  ...['cmdline', 'environ', 'auxv', 'comm', 'oom_score_adj', 'coredump_filter', 'personality'],
  ...['timerslack_ns'],
];
const LINKS = ['exe', 'cwd', 'root', 'ns/mnt', 'ns/net', 'ns/pid', 'ns/user', 'ns/ipc', 'ns/uts', 'ns/cgroup'];

const KERNEL_FILES = /^\/(dev\/zero \(deleted\)|SYSV|memfd:|anon_hugepage)|^socket:\[/;

/** Reads the state of a task that holds still. Throws if it is gone. */
export function readState(pid: number): TaskState {
  const state = new Map<string, string>();
  const base = `/proc/${pid}`;
  for (const name of FILES) state.set(name, readFileSync(`${base}/${name}`, 'latin1'));
  for (const name of LINKS) state.set(name, readlinkSync(`${base}/${name}`, 'latin1'));
  readStatus(base, state);
  for (const line of readFileSync(`${base}/limits`, 'latin1').split('\n')) {
    const [name = '', soft = '', hard = ''] = line.split(/ {2,}/);
    state.set(`limit ${name}`, `${soft} ${hard}`);
  }
  readStat(base, state);
  readMaps(base, state);
  readFds(base, state);
  return state;
}

/** Lines of the status of a thread that all of a process have in common. */
const COMMON = /^(Tgid|Ngid|Threads|ShdPnd|SigIgn|SigCgt|VmLck|CoreDumping|THP_enabled)$/;

/** Reads the state of one thread of a process: what it does not share with the others. */
export function readThreadState(pid: number, tid: number): TaskState {
  const state = new Map<string, string>();
  const base = `/proc/${pid}/task/${tid}`;
  readStatus(base, state);
  for (const key of state.keys()) if (COMMON.test(key.slice('status '.length))) state.delete(key);
  state.set('comm', readFileSync(`${base}/comm`, 'latin1'));
  state.set('personality', readFileSync(`${base}/personality`, 'latin1'));
  state.set('timerslack_ns', readFileSync(`/proc/${tid}/timerslack_ns`, 'latin1'));
  const stat = parseStat(readFileSync(`${base}/stat`));
  for (const key of ['nice', 'priority', 'rtPriority', 'policy'] as const) state.set(`stat ${key}`, String(stat[key]));
  return state;
}

function readStatus(base: string, state: Map<string, string>): void {
  for (const line of readFileSync(`${base}/status`, 'latin1').split('\n')) {
    const colon = line.indexOf(':');
    if (STATUS.includes(line.slice(0, colon)))
      state.set(`status ${line.slice(0, colon)}`, line.slice(colon + 1).trim());
  }
}

function readStat(base: string, state: Map<string, string>): void {
  const stat = parseStat(readFileSync(`${base}/stat`));
  for (const key of [
    ...(['pid', 'pgrp', 'session', 'ttyNr', 'nice', 'priority', 'numThreads', 'startCode', 'endCode'] as const),
    ...(['startStack', 'exitSignal', 'rtPriority', 'policy', 'startData', 'endData', 'startBrk'] as const),
    ...(['argStart', 'argEnd', 'envStart', 'envEnd'] as const),
  ]) {
    state.set(`stat ${key}`, String(stat[key]));
  }
}

/** Neighbouring VMAs that are alike count as one: whether the kernel has merged them is no state of the task. */
function readMaps(base: string, state: Map<string, string>): void {
  const merged: ProcVma[] = [];
  for (const vma of parseSmaps(readFileSync(`${base}/smaps`))) {
    const last = merged.at(-1);
    if (last && continues(last, vma)) merged[merged.length - 1] = { ...last, end: vma.end };
    else merged.push(vma);
  }
  for (const vma of merged) {
    const range = `${vma.start.toString(16)}-${vma.end.toString(16)}`;
    const rights = `${vma.prot & 1 ? 'r' : '-'}${vma.prot & 2 ? 'w' : '-'}${vma.prot & 4 ? 'x' : '-'}${vma.shared ? 's' : 'p'}`;
    // The kernel's own files behind shared anonymous memory are new ones after a restore.
    const identity = KERNEL_FILES.test(vma.name) ? '' : `${vma.devMajor}:${vma.devMinor}:${vma.ino}`;
    // Anonymous huge pages of a restored task are a memfd of that name.
    const name = vma.name.replace('/memfd:/anon_hugepage', '/anon_hugepage').replace(/^socket:\[\d+\]$/, 'socket');
    const file = `+${vma.offset.toString(16)} ${identity} ${name}`;
    state.set(`map ${range}`, `${rights} ${file} {${[...(vma.vmFlags ?? [])].join(' ')}} ${vma.kernelPageSize}`);
  }
}

/** Without `gu`, which stays with a VMA when its guard pages are gone. */
function flagsOf({ vmFlags }: ProcVma): string {
  return [...(vmFlags ?? [])].filter((flag) => flag !== 'gu').join();
}

function continues(a: ProcVma, b: ProcVma): boolean {
  return (
    a.end === b.start &&
    a.prot === b.prot &&
    a.shared === b.shared &&
    a.name === b.name &&
    a.ino === b.ino &&
    (a.ino === 0n || a.offset + (a.end - a.start) === b.offset) &&
    a.kernelPageSize === b.kernelPageSize &&
    flagsOf(a) === flagsOf(b)
  );
}

/** What a victim opens for a moment, to look at itself and its children. */
const IN_PASSING = /^\/proc\/\d+\/(task\/\d+\/)?(children|comm|pagemap|smaps|stat|status)$/;

/** Where a link of /proc leads. The kernel marks a file of net as deleted when somebody else looks it up. */
function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path, 'latin1').replace(/^(\/proc\/\d+\/(?:task\/\d+\/)?net\/.*) \(deleted\)$/, '$1');
  } catch {
    return undefined; // closed meanwhile
  }
}

/**
 * Descriptors: what they lead to, position and flags, and the details some kinds have. Not: mount IDs and inodes of
 * pipes.
 */
function readFds(base: string, state: Map<string, string>): void {
  for (const fd of readdirSync(`${base}/fd`)) {
    const link = linkOf(`${base}/fd/${fd}`)?.replace(/^(pipe|socket):\[\d+\]$/, '$1');
    if (link === undefined || IN_PASSING.test(link)) continue;
    const info = readFileSync(`${base}/fdinfo/${fd}`, 'latin1')
      .split('\n')
      .filter((line) => !/^(mnt_id|ino|eventfd-id|map_id):/.test(line))
      .join(' | ')
      // A running timer counts down while we look.
      .replace(/it_value: \((?!0, 0\)).*?\)/, 'it_value: (some time)');
    state.set(`fd ${fd}`, `${link} ${info}`);
  }
}

/** What differs between two states, a line each; empty if nothing does. `ignore`: items that may. */
export function differences(before: TaskState, after: TaskState, ignore: readonly RegExp[] = []): string[] {
  const lines: string[] = [];
  for (const name of new Set([...before.keys(), ...after.keys()])) {
    const was = before.get(name);
    const is = after.get(name);
    if (was !== is && !ignore.some((pattern) => pattern.test(name))) {
      lines.push(`${name}: was ${JSON.stringify(was) ?? 'not there'}, is ${JSON.stringify(is) ?? 'not there'}`);
    }
  }
  return lines;
}
