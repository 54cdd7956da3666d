/** The processes and threads of a tree as /proc shows them, and their state in one map. */
import { readdirSync, readFileSync } from 'node:fs';
import { type ProcStat, parseStat } from '../../../src/kernel/proc/stat.ts';
import { readState, readThreadState, type TaskState } from './state.ts';

/** What /proc/PID/stat says; undefined if the process is gone. */
export function statOf(pid: number): ProcStat | undefined {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`));
  } catch {
    return undefined;
  }
}

/** All processes there are, zombies as well. */
function processes(): ProcStat[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => statOf(Number(name)))
    .filter((stat) => stat !== undefined);
}

/** The children of a process, their children and so on, zombies as well; parents before children. */
export function descendants(root: number): ProcStat[] {
  const childrenOf = new Map<number, ProcStat[]>();
  for (const stat of processes()) childrenOf.set(stat.ppid, [...(childrenOf.get(stat.ppid) ?? []), stat]);
  const found: ProcStat[] = [];
  for (let next = childrenOf.get(root) ?? []; next.length > 0; ) {
    found.push(...next);
    next = next.flatMap(({ pid }) => childrenOf.get(pid) ?? []);
  }
  return found;
}

/** Process IDs of the processes whose environment holds a text: those started with it, and their children. */
export function bearersOf(token: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && environmentOf(Number(name)).includes(token))
    .map(Number);
}

/** The environment a process was started with; empty for zombies and those that are gone. */
export function environmentOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1');
  } catch {
    return '';
  }
}

/** Thread IDs of a process but for its first; none if it is gone. */
export function otherThreads(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`)
      .map(Number)
      .filter((tid) => tid !== pid);
  } catch {
    return [];
  }
}

/** Looks at a tree some process of which is gone before it was looked at. */
const MOST_LOOKS = 20;

/**
 * The state of a tree: items of the root by their own names (see state.ts), those of its threads as `thread TID …`, of
 * the others as `process PID …` and `process PID thread TID …`. If one ends meanwhile, as the copy of a task does that
 * a killed Stasis has left, it looks again. Throws if the root is gone.
 */
export function readTreeState(root: number): TaskState {
  for (let look = 1; ; look++) {
    const members = descendants(root).map(({ pid }) => pid);
    try {
      return stateOf(root, members);
    } catch (error) {
      const isWhole = members.every((pid) => statOf(pid) !== undefined);
      if (isWhole || !statOf(root) || look === MOST_LOOKS) throw error;
    }
  }
}

function stateOf(root: number, members: readonly number[]): TaskState {
  const state = new Map<string, string>();
  addProcess(root, '', state);
  for (const pid of members) {
    const stat = statOf(pid);
    if (!stat) throw new Error(`process ${pid} has just gone`);
    const prefix = `process ${pid} `;
    state.set(`${prefix}parent`, String(stat.ppid));
    if (stat.state === 'Z') addZombie(stat, prefix, state);
    else addProcess(pid, prefix, state);
  }
  return state;
}

function addProcess(pid: number, prefix: string, state: Map<string, string>): void {
  for (const [name, value] of readState(pid)) state.set(prefix + name, value);
  state.set(`${prefix}stopped`, String(statOf(pid)?.state === 'T'));
  for (const tid of otherThreads(pid)) {
    for (const [name, value] of readThreadState(pid, tid)) state.set(`${prefix}thread ${tid} ${name}`, value);
  }
}

function addZombie(stat: ProcStat, prefix: string, state: Map<string, string>): void {
  for (const key of ['state', 'comm', 'pgrp', 'session', 'exitSignal', 'exitCode'] as const)
    state.set(prefix + key, String(stat[key]));
}

/**
 * What the processes of a tree use together, in KiB: pages that several have count once, and pages that only one has.
 */
export function memoryOf(pids: readonly number[]): { pss: number; own: number } {
  const sum = { pss: 0, own: 0 };
  for (const pid of pids) {
    const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1');
    sum.pss += Number(/^Pss: +(\d+)/m.exec(text)?.[1]);
    sum.own += Number(/^Private_Dirty: +(\d+)/m.exec(text)?.[1]);
  }
  return sum;
}
