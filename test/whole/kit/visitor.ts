/**
 * Visits all threads of a process, over and over: to be run as a process of its own, so that it can be killed
 * meanwhile.
 *
 *     bun visitor.ts PID[,PID…][+PID…] [ROUNDS] [free|exitless] [rest]
 *
 * Says "visiting" when it begins, then a line of JSON for each round. Processes with a comma between them are visited
 * at the same time; those with a plus, which have the same memory, one after the other. `free` and `exitless` choose
 * the threads that lead (see tracee/seccomp-exit.ts). With `rest`, it says "resting" when it has visited all threads,
 * and stays in the process.
 */

import { readdirSync, writeSync } from 'node:fs';
import { hostPid } from '../../../src/base/brands.ts';
import { UndoStack } from '../../../src/base/undo.ts';
import { readProc } from '../../../src/kernel/proc/read.ts';
import { parseSmaps } from '../../../src/kernel/proc/smaps.ts';
import { parseStatus } from '../../../src/kernel/proc/status.ts';
import { leaveCriticalSection } from '../../../src/kinds/task/rseq/critical-section.ts';
import { Foothold } from '../../../src/tracee/foothold.ts';
import type { Program } from '../../../src/tracee/program.ts';
import { suspendSeccomp } from '../../../src/tracee/seccomp.ts';
import { threadsWithoutExit } from '../../../src/tracee/seccomp-exit.ts';
import { Tracee } from '../../../src/tracee/tracee.ts';

const [pids = '', rounds = '1', who, rest] = process.argv.slice(2);

interface Crowd {
  readonly pid: number;
  readonly threads: readonly Tracee[];
  /** Threads of other processes with the same memory. */
  readonly neighbours: readonly Tracee[];
}

function tids(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).map(Number);
}

/** Stops all threads there are. */
function freeze(pid: number): Tracee[] {
  const threads = new Map<number, Tracee>();
  for (;;) {
    const fresh = tids(pid).filter((tid) => !threads.has(tid));
    if (fresh.length === 0) return [...threads.values()];
    for (const tid of fresh) threads.set(tid, Tracee.attach(hostPid(tid), 0));
    for (const tid of fresh) threads.get(tid)?.stop(20_000);
  }
}

/** What only the thread itself can tell, and what shows whether it was the right one. */
function ask(program: Program, tracee: Tracee): () => void {
  const tid = program.call('gettid');
  const stack = program.space(24);
  program.call('sigaltstack', 0, stack);
  const where = program.space(8);
  program.attempt('prctl', 40, where, 0, 0, 0); // PR_GET_TID_ADDRESS
  const secure = program.call('prctl', 27, 0, 0, 0, 0); // PR_GET_SECUREBITS
  const name = program.space(16);
  program.call('prctl', 16, name, 0, 0, 0); // PR_GET_NAME
  for (let i = 0; i < 5; i++) program.call('getpid');
  return () => {
    if (program.result(tid) !== tracee.pid) throw new Error(`${program.result(tid)} for ${tracee.pid}`);
    if (program.result(secure) !== 0) throw new Error('securebits');
    if (program.bytes(name, 1)[0] === 0) throw new Error('no name');
  };
}

/** Those seccomp would not let out; for the time being, all calls are allowed. */
function exitlessOf(threads: readonly Tracee[]): Set<Tracee> {
  const guarded = threads.map((tracee) => ({ tracee, seccomp: parseStatus(readProc(tracee.pid, 'status')).seccomp }));
  for (const { tracee, seccomp } of guarded) if (seccomp) suspendSeccomp(tracee.pid);
  return threadsWithoutExit(guarded);
}

/** One round; answers microseconds for a visit, and how many there were. */
function round(crowds: readonly Crowd[]): { visit: number; visits: number } {
  using footholds = new UndoStack();
  const places = crowds.map(({ pid, threads, neighbours }) => {
    const exitless = exitlessOf(threads);
    const able = threads.filter((thread) => who === undefined || exitless.has(thread) === (who === 'exitless'));
    const leader = able[Math.floor(Math.random() * able.length)] as Tracee;
    const others = threads.filter((thread) => thread !== leader);
    for (const thread of threads) leaveCriticalSection(thread);
    const { sigCgt } = parseStatus(readProc(leader.pid, 'status'));
    const foothold = Foothold.gain(leader, hostPid(pid), parseSmaps(readProc(leader.pid, 'maps')), {
      others: [...others, ...neighbours],
      exitless,
      // Both ways in and out.
      ...(Math.random() < 0.5 ? { caught: sigCgt } : {}),
    });
    footholds.add(() => foothold[Symbol.dispose]());
    return { foothold, leader, others };
  });
  // The leaders at the same time, and their results in the reverse order.
  const led = places.map(({ foothold, leader }) => {
    const program = foothold.remote.program();
    const check = ask(program, leader);
    foothold.remote.start(program);
    return () => {
      foothold.remote.finish(program);
      check();
    };
  });
  for (const finish of led.reverse()) finish();
  let visits = 0;
  const began = performance.now();
  for (let i = 0; ; i++) {
    const going = places.flatMap(({ foothold, others }) => {
      const thread = others[i];
      if (!thread) return [];
      const program = foothold.remote.program();
      const check = ask(program, thread);
      const visit = foothold.beginVisit(thread, program);
      return () => {
        visit.end();
        check();
      };
    });
    for (const end of going) end();
    visits += going.length;
    if (going.length === 0) break;
  }
  if (rest) {
    writeSync(1, 'resting\n');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  }
  return { visit: ((performance.now() - began) * 1000) / Math.max(1, visits), visits };
}

for (let i = 0; i < Number(rounds); i++) {
  const turns = pids
    .split('+')
    .map((turn) => turn.split(',').map((pid) => ({ pid: Number(pid), threads: freeze(Number(pid)) })));
  const all = turns.flat().flatMap(({ threads }) => threads);
  try {
    if (i === 0) process.stdout.write('visiting\n');
    for (const turn of turns) {
      const own = new Set(turn.flatMap(({ threads }) => threads));
      const neighbours = turns.length > 1 ? all.filter((thread) => !own.has(thread)) : [];
      const { visit, visits } = round(turn.map((process) => ({ ...process, neighbours })));
      process.stdout.write(`${JSON.stringify({ visit: Math.round(visit * 10) / 10, visits })}\n`);
    }
  } finally {
    for (const thread of all) thread.detach();
  }
  await new Promise((done) => setTimeout(done, 1 + Math.random() * 5));
}
