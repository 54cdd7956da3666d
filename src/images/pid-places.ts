/**
 * The numbers of processes in the PID namespaces below that of the root of a tree. Images hold the number that the
 * namespace of the root gives; CRIU refuses trees whose processes are in several. So the other numbers are in a file of
 * our own, which only trees have that need it. Pure.
 */
import { encodeText } from '../base/text.ts';
import { ImageError } from './error.ts';
import { list, object, readJson, tuple, whole } from './form.ts';
import type { ImageSet } from './image-set.ts';

const NAME = 'stasis-pids.json';

/** Where a process, a thread, a session or a group is numbered. */
export interface PidPlace {
  /** The ID of the PID namespace it belongs to. */
  readonly namespace: number;
  /** Its numbers, from the namespace of the root down to its own; the first is the one that images have. */
  readonly numbers: readonly number[];
}

/** The PID namespaces of a tree that has several. */
export class PidPlaces {
  /** The ID of the namespace of the root. */
  readonly root: number;
  /** The parent of each other namespace, outer ones first. */
  readonly parents: ReadonlyMap<number, number>;
  /** Those that are not in the namespace of the root, by the number that this gives them. */
  readonly inner: ReadonlyMap<number, PidPlace>;
  /** The namespaces in which processes have their next children, where that is another one; 0: in a new one. */
  readonly forChildren: ReadonlyMap<number, number>;

  constructor(
    root: number,
    parents: ReadonlyMap<number, number>,
    inner: ReadonlyMap<number, PidPlace>,
    forChildren: ReadonlyMap<number, number> = new Map(),
  ) {
    this.root = root;
    this.parents = parents;
    this.inner = inner;
    this.forChildren = forChildren;
  }

  /** Where a number of the root's namespace belongs. */
  of(number: number): PidPlace {
    return this.inner.get(number) ?? { namespace: this.root, numbers: [number] };
  }

  /** The namespaces from that of the root down to this one. */
  chain(namespace: number): number[] {
    const chain: number[] = [];
    for (let at: number | undefined = namespace; at !== undefined; at = this.parents.get(at)) chain.unshift(at);
    return chain;
  }

  /** Whether processes of one namespace see those of another: their own, and those further in. */
  sees(one: number, other: number): boolean {
    return this.chain(other).includes(one);
  }

  /** What those in a namespace call a process, a session or a group; 0 if they do not see it. */
  numberIn(namespace: number, number: number): number {
    if (number === 0) return 0;
    const place = this.of(number);
    if (!this.sees(namespace, place.namespace)) return 0;
    return place.numbers[this.chain(namespace).length - 1] ?? 0;
  }

  /** Whether a process is the init of a namespace below that of the root. */
  isInit(number: number): boolean {
    return this.inner.get(number)?.numbers.at(-1) === 1;
  }

  /** The file for an image set. */
  encode(): { readonly name: string; readonly bytes: Uint8Array } {
    const content = {
      root: this.root,
      namespaces: [...this.parents],
      numbers: [...this.inner.values()].map(({ namespace, numbers }) => [namespace, numbers]),
      forChildren: [...this.forChildren],
    };
    return { name: NAME, bytes: encodeText(`${JSON.stringify(content)}\n`) };
  }

  /** Reads the file of an image set; undefined if there is none. @throws ImageError */
  static read(images: ImageSet): PidPlaces | undefined {
    const bytes = images.own(NAME);
    return bytes && checked(readJson(form, bytes, NAME));
  }
}

const form = object({
  root: whole,
  namespaces: list(tuple(whole, whole)),
  numbers: list(tuple(whole, list(whole))),
  forChildren: list(tuple(whole, whole)),
});

function checked({ root, namespaces, numbers, forChildren }: ReturnType<(typeof form)['read']>): PidPlaces {
  const fail = (field: string, reason: string): ImageError => new ImageError({ file: NAME, field, reason });
  const parents = new Map<number, number>();
  for (const [id, parent] of namespaces) {
    if (id === root || parents.has(id)) throw fail('namespaces', `namespace ${id} is there twice`);
    if (parent !== root && !parents.has(parent)) throw fail('namespaces', `the parent of namespace ${id} is missing`);
    parents.set(id, parent);
  }
  const inner = new Map<number, PidPlace>();
  const places = new PidPlaces(root, parents, inner, new Map(forChildren));
  for (const [namespace, list] of numbers) {
    const [first = 0] = list;
    if (!parents.has(namespace)) throw fail('numbers', `there is no namespace ${namespace}`);
    if (list.length !== places.chain(namespace).length) throw fail('numbers', `too few or too many for ${first}`);
    if (list.some((number) => number <= 0 || number > MOST_PID))
      throw fail('numbers', `impossible number for ${first}`);
    inner.set(first, { namespace, numbers: list });
  }
  const unknown = forChildren.find(([, id]) => id !== 0 && !parents.has(id));
  if (unknown) throw fail('forChildren', `there is no namespace ${unknown[1]}`);
  return places;
}

/** PID_MAX_LIMIT of 64-bit kernels. */
const MOST_PID = 1 << 22;
