import type { Registers } from '../arch/arch.ts';
import type { Milliseconds } from '../base/brands.ts';
import type { Program } from './program.ts';
import { Remote } from './remote.ts';
import type { Tracee } from './tracee.ts';
import { type Ground, Visit } from './visit.ts';

/**
 * Runs programs in an exitless leader, which is put back to where it was found after each program. If Stasis dies
 * between two programs, only the area is left behind, which harms less than a killed leader.
 */
export class HomeRemote extends Remote {
  readonly #ground: Ground;
  #visit: Visit | undefined;

  constructor(tracee: Tracee, base: Registers, ground: Ground) {
    super(tracee, ground.area, base, ground.bell);
    this.#ground = ground;
  }

  override start(program: Program): void {
    this.#visit = Visit.begin(this.#ground, this.tracee, program);
  }

  override finish(program: Program, patience: Milliseconds = Number.POSITIVE_INFINITY): Program {
    this.#visit?.end(patience);
    return program;
  }

  override runWithPause(): boolean {
    return false;
  }
}
