/** Every kind there is. A new kernel object is a new folder and one line here. */
import type { FileKind, TaskKind } from './contract.ts';
import { eventfdKind } from './eventfd/kind.ts';
import { fifoKind } from './fifo/kind.ts';
import { fs } from './fs/kind.ts';
import { memory } from './memory/kind.ts';
import { pidfdKind } from './pidfd/kind.ts';
import { pipeKind } from './pipe/kind.ts';
import { registers } from './registers/kind.ts';
import { regular } from './regular/kind.ts';
import { restart } from './restart/kind.ts';
import { session } from './session/kind.ts';
import { signalfdKind } from './signalfd/kind.ts';
import { timerfdKind } from './timerfd/kind.ts';

/** Kinds of task state, in the order they are captured and, within a phase, rebuilt. */
export const taskKinds: readonly TaskKind[] = [session, registers, restart, fs, memory];

/** Kinds of open files; the first that recognises a descriptor has it. */
export const fileKinds: readonly FileKind[] = [
  regular,
  pipeKind,
  fifoKind,
  eventfdKind,
  signalfdKind,
  timerfdKind,
  pidfdKind,
];

export { finalRegisters } from './registers/kind.ts';
export { remakeInterruptedCall } from './restart/kind.ts';
