/**
 * AMX tiles. The kernel gives a process room for them (11 KiB instead of 3 for each thread) in two steps: the process
 * requests the permission (arch_prctl(2), Documentation/arch/x86/xstate.rst), and a thread gets the room when it first
 * uses a tile. Before that, PTRACE_SETREGSET refuses a state with tiles.
 */
import { StasisError } from '../../../base/errors.ts';
import type { DumpTask, RestoreTask, RestoreThread } from '../../../contract/contract.ts';
import { forceWrite, openMemory, writeMemory } from '../../../tracee/memory.ts';
import { AREA, type Program } from '../../../tracee/program.ts';
import { PTRACE } from '../../../tracee/ptrace.ts';
import { usedFeatures } from './xsave.ts';

const ARCH_GET_XCOMP_PERM = 0x1022;
const ARCH_REQ_XCOMP_PERM = 0x1023;
/** Number of the component XTILEDATA, the only one so far that needs a permission. */
const TILE_DATA = 18;
const SIGTRAP = 5;

/** Adds a call that reads the permissions of the process. The returned function stores them in `task.extra`. */
export function capturePermission(task: DumpTask, program: Program): () => void {
  const at = program.space(8);
  const asked = program.attempt('arch_prctl', ARCH_GET_XCOMP_PERM, at);
  return () => {
    const granted = program.result(asked) === 0 ? program.view(at, 8).getBigUint64(0, true) : 0n;
    if (has(granted)) task.extra.xcomp = [TILE_DATA];
  };
}

/** Requests the permission again. */
export function rebuildPermission(task: RestoreTask): void {
  const saved = task.extra.xcomp;
  if (!Array.isArray(saved) || !saved.includes(TILE_DATA)) return;
  const asked = task.batch.reserve(1).attempt('arch_prctl', ARCH_REQ_XCOMP_PERM, TILE_DATA);
  task.batch.after((program) => {
    const result = program.result(asked);
    if (result === 0) return;
    throw new StasisError({
      kind: 'conflict',
      code: 'CPU_STATE',
      task: task.ref,
      resource: 'AMX tiles',
      reason: `the program may use them, and this processor or kernel does not let it (${result})`,
    });
  });
}

/**
 * Makes the kernel allocate room for the tiles in `state`, by having the thread load them. The task must be stopped
 * between programs.
 */
export function makeRoom(thread: RestoreThread, state: Uint8Array): void {
  if (!has(usedFeatures(state))) return;
  const { tracee, remote } = thread;
  // The heap begins at a multiple of 64, as xrstor requires.
  const stateAt = remote.area + AREA.code + AREA.entries;
  const code = loadTiles(stateAt);
  const codeAt = remote.area + AREA.code - code.length;
  using mem = openMemory(thread.tracee.pid);
  forceWrite(mem, codeAt, code);
  writeMemory(thread.tracee.pid, stateAt, state);
  tracee.setRegisters(tracee.arch.jump(tracee.getRegisters(), codeAt));
  tracee.resumeUntil(PTRACE.CONT, (stop) => stop.kind === 'signal' && stop.signal === SIGTRAP);
}

function loadTiles(stateAt: number): Uint8Array {
  const code = new Uint8Array(25);
  const view = new DataView(code.buffer);
  code.set([0x48, 0xbf]); // mov rdi, stateAt
  view.setBigUint64(2, BigInt(stateAt), true);
  code[10] = 0xb8; // mov eax, 1 << TILE_DATA
  view.setUint32(11, 2 ** TILE_DATA, true);
  code[15] = 0xba; // mov edx, 0
  code.set([0x48, 0x0f, 0xae, 0x2f, 0xcc], 20); // xrstor64 [rdi]; int3
  return code;
}

function has(features: bigint): boolean {
  return ((features >> BigInt(TILE_DATA)) & 1n) === 1n;
}
