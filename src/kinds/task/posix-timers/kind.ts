/** POSIX timers (timer_create(2)). */
import { StasisError } from '../../../base/errors.ts';
import type { DumpTask, RestoreTask, SeenTask, TaskKind } from '../../../contract/contract.ts';
import type { PosixTimerEntry } from '../../../images/schema/task.ts';
import { PR, PR_TIMER_CREATE_RESTORE_IDS } from '../../../kernel/constants/prctl.ts';
import { SIGEV } from '../../../kernel/constants/signals.ts';
import { CLOCK } from '../../../kernel/constants/tasks.ts';
import { Sigevent } from '../../../kernel/layouts/signals.ts';
import { Itimerspec } from '../../../kernel/layouts/time.ts';
import { readProcIfAny } from '../../../kernel/proc/read.ts';
import { type ProcTimer, parseTimers } from '../../../kernel/proc/timers.ts';
import type { Program, Ref } from '../../../tracee/program.ts';
import { entryOf, settingOf, sigeventOf } from './entry.ts';

/** How many timers are read in one program, which has to hold the calls of other kinds as well. */
const LOT = 250;
/** How /proc shows CLOCK_THREAD_CPUTIME_ID: the CPU clock of the thread that made the timer. */
const OWN_CPU_CLOCK = -2;

function timersOf(task: SeenTask): ProcTimer[] {
  const text = readProcIfAny(task.pid, 'timers');
  // The kernel lists the newest timer first, so they are made again in reverse order.
  return text ? parseTimers(text).reverse() : [];
}

function capture(task: DumpTask, program: Program): () => void {
  const timers = timersOf(task);
  const first = ask(timers.slice(0, LOT), program, task);
  return () => {
    const posix = first();
    for (let at = LOT; at < timers.length; at += LOT) {
      const more = task.remote.program();
      const read = ask(timers.slice(at, at + LOT), more, task);
      task.remote.run(more);
      posix.push(...read());
    }
    const idle = { isec: 0, iusec: 0, vsec: 0, vusec: 0 };
    task.core.tc.timers = { real: idle, virt: idle, prof: idle, ...task.core.tc.timers, posix };
  };
}

function ask(timers: readonly ProcTimer[], program: Program, task: DumpTask): () => PosixTimerEntry[] {
  const asked = timers.map((timer) => {
    const at = program.space(Itimerspec.size);
    program.call('timer_gettime', timer.id, at);
    return { timer, at, overrun: program.call('timer_getoverrun', timer.id) };
  });
  return () =>
    asked.map(({ timer, at, overrun }) => {
      warnOfClock(timer, task);
      const setting = Itimerspec.decode(program.bytes(at, Itimerspec.size));
      return entryOf(timer, setting, program.result(overrun), innerTid(task, timer.target));
    });
}

/**
 * Warns about a CPU clock. The kernel does not show whose CPU time it counts; most often it is that of the notified
 * thread.
 */
function warnOfClock({ id, clockId, toThread }: ProcTimer, task: DumpTask): void {
  if (clockId !== OWN_CPU_CLOCK || toThread || task.threads.length === 1) return;
  const guess = 'of which thread cannot be seen: the first one is taken for it';
  const reason = `counts the CPU time of one thread, ${guess}`;
  task.context.notice({ task: task.ref, resource: `timer ${id}`, reason });
}

/** The TID of a thread in its own (the innermost) PID namespace. */
function innerTid(task: DumpTask, tid: number): number {
  return task.threads.find((thread) => thread.tid === tid)?.status.nsPid?.at(-1) ?? tid;
}

/**
 * Makes the timers without arming them. This comes early, since alarm clocks need a capability that may be gone later.
 */
function create(task: RestoreTask): void {
  const timers = task.core.tc?.timers?.posix ?? [];
  if (timers.length === 0) return;
  const { batch } = task;
  const asked = batch.reserve(1).attempt('prctl', PR.TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS.ON, 0, 0, 0);
  let withIds = false;
  batch.after((program) => {
    withIds = program.result(asked) === 0;
  });
  batch.flush();
  if (withIds) {
    for (const timer of timers) createOne(task, timer, timer.it_id);
    batch.call('prctl', PR.TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS.OFF, 0, 0, 0);
  } else {
    createCounting(task, timers);
  }
}

/** Makes timers on kernels before 6.15, which count IDs up from 0: timers with unwanted IDs are made and deleted. */
function createCounting(task: RestoreTask, timers: readonly PosixTimerEntry[]): void {
  let next = 0;
  for (const timer of [...timers].sort((a, b) => a.it_id - b.it_id)) {
    for (; next < timer.it_id; next++) {
      const program = task.batch.reserve(2, Sigevent.size + 8);
      program.call(
        'timer_create',
        CLOCK.MONOTONIC,
        program.data(Sigevent.encode({ notify: SIGEV.NONE })),
        program.space(8),
      );
      program.call('timer_delete', next);
    }
    createOne(task, timer, 0);
    next = timer.it_id + 1;
  }
}

function createOne(task: RestoreTask, timer: PosixTimerEntry, wanted: number): void {
  const target = task.threads.find(({ tid }) => tid === timer.notify_thread_id);
  const maker = (timer.clock_id | 0) === OWN_CPU_CLOCK && target ? target : task;
  // The threads of a process share the work area, so calls collected for one run before those of another.
  if (maker !== task) task.batch.flush();
  const program = maker.batch.reserve(1, Sigevent.size + 8);
  const id = program.data(new Uint8Array(new Int32Array([wanted, 0]).buffer));
  const event = program.data(sigeventOf(timer, target !== undefined));
  const made = program.attempt('timer_create', timer.clock_id | 0, event, id);
  maker.batch.after((done) => requireTimer(task, timer, done, made, id));
  if (maker !== task) maker.batch.flush();
}

function requireTimer(task: RestoreTask, timer: PosixTimerEntry, done: Program, made: Ref, id: number): void {
  const result = done.result(made);
  const got = done.view(id, 4).getInt32(0, true);
  if (result === 0 && got === timer.it_id) return;
  throw new StasisError({
    kind: 'kernel',
    task: task.ref,
    resource: `POSIX timer ${timer.it_id} (clock ${timer.clock_id | 0}, signal ${timer.si_signo})`,
    reason: result === 0 ? `the kernel gave it number ${got}` : `timer_create answered ${result}`,
  });
}

function arm(task: RestoreTask): void {
  for (const timer of task.core.tc?.timers?.posix ?? []) {
    const setting = settingOf(timer);
    if (!setting) continue;
    const program = task.batch.reserve(1, Itimerspec.size);
    program.call('timer_settime', timer.it_id, 0, program.data(setting), 0);
  }
}

/** POSIX timers. They are armed in the last phase. */
export const posixTimers: TaskKind = {
  name: 'posix-timers',
  after: ['memory'],
  capture,
  rebuild: { state: create, last: arm },
};
