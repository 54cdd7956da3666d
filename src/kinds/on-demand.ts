/**
 * Kinds whose doors are loaded when the first file of theirs is met. Until then the registry knows how such a file is
 * recognised, and doors that are called for every tree or task find nothing to do.
 */
import type { Part } from '../base/part.ts';
import type { FileDoors, FileKind, FileSign, TaskKind, TreeDoors } from '../contract/contract.ts';

/** A kind of open file whose doors are in a part of the program. */
export function fileOnDemand<Module>(
  sign: FileSign,
  part: Part<Module>,
  doorsOf: (module: Module) => FileDoors,
): FileKind {
  const doors = (): FileDoors => doorsOf(part.load());
  const kind = {
    ...sign,
    recognises(file: Parameters<FileSign['recognises']>[0]): boolean {
      const ours = sign.recognises(file);
      if (ours) part.load();
      return ours;
    },
    meet: () => void part.load(),
    tree: treeIfLoaded(() => part.ifLoaded && doorsOf(part.ifLoaded).tree),
    get obstacle() {
      return doors().obstacle;
    },
    get notice() {
      return doors().notice;
    },
    get capture() {
      return doors().capture;
    },
    get rebuild() {
      return doors().rebuild;
    },
    get finish() {
      return doors().finish;
    },
    get suits() {
      return doors().suits;
    },
  };
  return kind as FileKind; // a getter may answer undefined, which is as good as no door
}

/**
 * What a kind of open file does for each process, or for the tree as a kind of its own. It has no doors `stopped` and
 * `depart`, which are for every thread.
 */
export function taskOnDemand<Module>(
  sign: Pick<TaskKind, 'name' | 'after'>,
  part: Part<Module>,
  kindOf: (module: Module) => TaskKind,
): TaskKind {
  const doors = (): TaskKind | undefined => part.ifLoaded && kindOf(part.ifLoaded);
  const kind = {
    ...sign,
    tree: treeIfLoaded(() => doors()?.tree),
    get obstacles() {
      return doors()?.obstacles;
    },
    get notices() {
      return doors()?.notices;
    },
    get capture() {
      return doors()?.capture;
    },
    get drain() {
      return doors()?.drain;
    },
    get born() {
      return doors()?.born;
    },
    get rebuild() {
      return doors()?.rebuild;
    },
    get thread() {
      return doors()?.thread;
    },
  };
  return kind as TaskKind; // as above
}

function treeIfLoaded(doors: () => TreeDoors | undefined): TreeDoors {
  const tree = {
    get survey() {
      return doors()?.survey;
    },
    get unsteady() {
      return doors()?.unsteady;
    },
    get frozen() {
      return doors()?.frozen;
    },
    get capture() {
      return doors()?.capture;
    },
    get end() {
      return doors()?.end;
    },
    get dead() {
      return doors()?.dead;
    },
    get begin() {
      return doors()?.begin;
    },
    get prepare() {
      return doors()?.prepare;
    },
    get rebuilt() {
      return doors()?.rebuilt;
    },
    get restoreEnd() {
      return doors()?.restoreEnd;
    },
  };
  return tree as TreeDoors; // as above
}
