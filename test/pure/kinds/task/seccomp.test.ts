/** Chains of seccomp filters, in the image and among threads. */
import { describe, expect, test } from 'bun:test';
import { ImageError } from '../../../../src/images/error.ts';
import { readImage, writeImage } from '../../../../src/images/image.ts';
import { Images } from '../../../../src/images/kinds.ts';
import {
  asksSupervisor,
  type Chain,
  chainsForImage,
  type Filter,
  FilterTable,
  planInstallation,
  readChain,
} from '../../../../src/kinds/task/seccomp/chains.ts';

const TSYNC = 1;
const LOG = 2;

/** A program of instructions [code, jt, jf, k]. */
function program(...instructions: readonly (readonly [number, number, number, number])[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(8 * instructions.length));
  for (const [i, [code, jt, jf, k]] of instructions.entries()) {
    view.setUint16(8 * i, code, true);
    view.setUint8(8 * i + 2, jt);
    view.setUint8(8 * i + 3, jf);
    view.setUint32(8 * i + 4, k, true);
  }
  return new Uint8Array(view.buffer);
}

/** A filter that denies one call. */
function deny(nr: number, flags = 0): Filter {
  const code = program([0x20, 0, 0, 0], [0x15, 0, 1, nr], [0x06, 0, 0, 0x0005_0001], [0x06, 0, 0, 0x7fff_0000]);
  return { code, flags };
}

/** Equal, but another object, as each thread's is when it is read. */
const again = (chain: Chain): Chain => chain.map(({ code, flags }) => ({ code: code.slice(), flags }));

function synced(chain: Chain): Chain {
  return chain.map(({ code, flags }) => ({ code, flags: flags | TSYNC }));
}

/** What is read of what was written. */
function entriesOf(table: FilterTable) {
  const bytes = writeImage(Images.seccomp, [{ seccomp_filters: table.entries }], 'seccomp.img');
  const [image] = readImage(Images.seccomp, 'seccomp.img', bytes, {});
  return image?.seccomp_filters ?? [];
}

describe('the image', () => {
  test('a thread names the filter installed first, which leads to the next', () => {
    const table = new FilterTable();
    const first = table.add([deny(101), deny(332), deny(39, LOG)]);
    const entries = entriesOf(table);
    expect(first).toBe(2);
    expect(entries.map(({ prev, flags }) => [prev, flags])).toEqual([
      [undefined, LOG],
      [0, 0],
      [1, 0],
    ]);
    expect(readChain(entries, first)).toEqual([deny(101), deny(332), deny(39, LOG)]);
  });

  test('an equal chain is there once, one that ends alike shares that end', () => {
    const table = new FilterTable();
    const chain = [deny(1), deny(2)];
    expect(table.add(again(chain))).toBe(table.add(again(chain)));
    expect(table.entries).toHaveLength(2);
    const other = table.add([deny(3), deny(2)]);
    expect(table.entries).toHaveLength(3);
    const third = table.add([deny(1)]);
    expect(table.entries).toHaveLength(4);
    expect(readChain(entriesOf(table), other)).toEqual([deny(3), deny(2)]);
    expect(readChain(entriesOf(table), third)).toEqual([deny(1)]);
  });

  const filter = deny(1).code;
  const damaged: [string, { filter: Uint8Array; prev?: number; flags: number }[], number][] = [
    ['names a filter that is not there', [{ filter, flags: 0 }], 1],
    ['leads to one that is not there', [{ filter, prev: 7, flags: 0 }], 0],
    [
      'goes round in circles',
      [
        { filter, prev: 1, flags: 0 },
        { filter, prev: 0, flags: 0 },
      ],
      0,
    ],
    ['has half an instruction', [{ filter: filter.subarray(4), flags: 0 }], 0],
    ['is empty', [{ filter: new Uint8Array(0), flags: 0 }], 0],
    ['is longer than any program', [{ filter: new Uint8Array(8 * 4097), flags: 0 }], 0],
  ];
  test.each(damaged)('an error: the chain %s', (_, entries, first) => {
    const whole = entries.map((entry) => ({ ...entry, prev: entry.prev }));
    expect(() => readChain(whole, first)).toThrow(ImageError);
  });
});

describe('threads in the image', () => {
  const chain = [deny(1), deny(2)];

  test('one: its filters are marked as for all', () => {
    expect(chainsForImage([chain])).toEqual([synced(chain)]);
  });

  test('all alike: the main thread stands for them', () => {
    expect(chainsForImage([chain, again(chain), again(chain)])).toEqual([synced(chain), undefined, undefined]);
  });

  test.each([
    ['one has none', [chain, undefined]],
    ['the main thread has none', [undefined, chain]],
    ['one has fewer', [chain, [deny(1)]]],
    ['one has more', [chain, [...chain, deny(3)]]],
    ['one has another', [chain, [deny(1), deny(3)]]],
    ['one is logged', [chain, [deny(1), deny(2, LOG)]]],
  ] as [string, (Chain | undefined)[]][])('%s: each has its own', (_, chains) => {
    expect(chainsForImage(chains)).toEqual(chains);
  });
});

describe('installing', () => {
  test('of one thread, all its own', () => {
    expect(planInstallation([[deny(1), deny(2)]])).toEqual({ shared: [], own: [[deny(1), deny(2)]] });
  });

  test('what is marked is for all', () => {
    const marked = synced([deny(1), deny(2)]);
    expect(planInstallation([marked, [], []])).toEqual({ shared: marked, own: [[], [], []] });
  });

  test('what all begin with is shared, the rest is not', () => {
    const chains = [[deny(1), deny(2)], again([deny(1), deny(2), deny(3)]), again([deny(1), deny(2), deny(4)])];
    expect(planInstallation(chains)).toEqual({ shared: [deny(1), deny(2)], own: [[], [deny(3)], [deny(4)]] });
  });

  test('nothing is shared with a thread that has none', () => {
    const chains = [[], [deny(1)], again([deny(1)])];
    expect(planInstallation(chains)).toEqual({ shared: [], own: chains });
  });
});

describe('supervisors', () => {
  const withReturn = (value: number): Filter => ({ code: program([0x06, 0, 0, value]), flags: 0 });

  test('a filter that hands calls over', () => {
    expect(asksSupervisor(withReturn(0x7fc0_0000))).toBe(true);
    expect(asksSupervisor(withReturn(0x7fc0_1234))).toBe(true);
  });

  test('others', () => {
    for (const action of [0x8000_0000, 0, 0x0003_0000, 0x0005_0016, 0x7ff0_0000, 0x7ffc_0000, 0x7fff_0000]) {
      expect(asksSupervisor(withReturn(action))).toBe(false);
    }
    // The constant is compared with, not returned.
    expect(asksSupervisor({ code: program([0x15, 0, 0, 0x7fc0_0000], [0x06, 0, 0, 0]), flags: 0 })).toBe(false);
  });
});
