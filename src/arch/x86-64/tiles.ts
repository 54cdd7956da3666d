/**
 * AMX tiles, the one component of the extended state so far that a process has to ask for (arch_prctl,
 * Documentation/arch/x86/xstate.rst).
 */
import type { StatePermission } from '../arch.ts';
import { ARCH } from './processor.ts';
import { usedFeatures } from './xsave.ts';

/** Number of the component XTILEDATA. */
const TILE_DATA = 18;

/** xrstor64 [stateAt], for the tiles alone; then a trap. */
function load(stateAt: number): Uint8Array {
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

export const TILES: StatePermission = {
  name: 'AMX tiles',
  component: TILE_DATA,
  call: { name: 'arch_prctl', get: ARCH.GET_XCOMP_PERM, request: ARCH.REQ_XCOMP_PERM },
  isUsed: (state) => ((usedFeatures(state) >> BigInt(TILE_DATA)) & 1n) === 1n,
  load,
};
