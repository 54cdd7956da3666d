/** Plans the forks of a tree by trying possibilities, where it cannot be planned in one go. */
import { planGrowth, type SparePids } from './fork-steps.ts';
import { hostByOrder } from './fork-tree.ts';
import { linkTree, type Tree, type TreeNode } from './node.ts';
import { searchBirths } from './search-births.ts';
import { isUnbuildable, type Planting, type TreeStep, type TreeTask } from './types.ts';

/** The steps that fork all tasks and helpers. */
export interface Forks {
  readonly tree: Tree;
  readonly helpers: readonly TreeNode[];
  readonly steps: readonly TreeStep[];
}

/** Returns undefined if there is no way, or none is found. */
export function searchForks(tasks: readonly TreeTask[], planting: Planting, sparePids: SparePids): Forks | undefined {
  const tree = linkTree(tasks, planting);
  const births = searchBirths(tree);
  if (!births) return undefined;
  const { helpers } = births;
  try {
    hostByOrder(tree, births);
    return { tree, helpers, steps: [...planGrowth(tree, helpers, sparePids)] };
  } catch (error) {
    if (!isUnbuildable(error)) throw error;
    return undefined;
  }
}
