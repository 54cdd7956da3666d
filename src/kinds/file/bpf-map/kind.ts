/**
 * Maps of eBPF: hashes and arrays that processes share, by descriptors, with each other and with programs of the
 * kernel. A map that a loaded program uses is refused, since the program would go on with the old one.
 */
import type { StasisError } from '../../../base/errors.ts';
import type { DumpContext, FileDoors, OpenFile, RestoreContext, SeenTree } from '../../../contract/contract.ts';
import { KeyedSlot, Slot } from '../../../contract/slots.ts';
import { ImageError } from '../../../images/error.ts';
import { Images } from '../../../images/kinds.ts';
import type { BpfmapFileEntry } from '../../../images/schema/bpf.ts';
import {
  accessFlags,
  createMap,
  freezeMap,
  type MapContent,
  type MapFacts,
  mapFacts,
  nameIn,
  openMap,
  readEntries,
  userOf,
  writeEntries,
} from '../../../kernel/bpf-maps.ts';
import { BPF_MAP_TYPE, BPF_MAP_TYPES } from '../../../kernel/constants/bpf.ts';
import { detailOf, fileObstacle, partOf } from '../../../support/fdinfo.ts';
import { captureOwner, imageFlags, setFlagsAndOwner } from '../../../support/fown.ts';
import { canRead, canWrite } from '../../../support/pipe-ends.ts';

const LOADED_AGAIN = 'have the program close it before the dump, and load it again after the restore';

export const bpfMapKind: FileDoors = {
  obstacle(file, { tree }) {
    const facts = mapFacts(file.local);
    const { HASH, ARRAY } = BPF_MAP_TYPE;
    if (facts.type !== HASH && facts.type !== ARRAY) {
      const type = BPF_MAP_TYPES[facts.type] ?? `number ${facts.type}`;
      return refuse(file, `${called(facts)} is of type ${type}; only those of types HASH and ARRAY are carried`);
    }
    if (facts.btfId !== 0) {
      const reason = `${called(facts)} has a description of its types (BTF), by which it may hold locks, timers and pointers`;
      return refuse(file, `${reason} of the kernel`);
    }
    if (facts.ifindex !== 0) return refuse(file, `${called(facts)} is in the memory of a network device`);
    const user = USERS.of(tree, facts.id);
    return user && refuse(file, `${called(facts)} is used by the eBPF program ${user.id} (${user.name})`);
  },

  capture(file, id, context) {
    const facts = mapFacts(file.local);
    const { values } = detailOf(file, 'bpfMap');
    captureEntries(facts, context);
    return {
      bpf: {
        id,
        flags: imageFlags(file.flags),
        pos: 0,
        fown: captureOwner(file.local, file.flags, context),
        map_type: facts.type,
        key_size: facts.keySize,
        value_size: facts.valueSize,
        map_id: facts.id,
        max_entries: facts.maxEntries,
        map_flags: facts.flags,
        memlock: BigInt(values.get('memlock') ?? 0),
        frozen: values.get('frozen') === '1',
        map_name: nameIn(facts.name),
        ifindex: 0,
        ...(facts.mapExtra === 0n ? {} : { map_extra: facts.mapExtra }),
      },
    };
  },

  rebuild(entry, context) {
    const saved = partOf(entry, 'bpf');
    const made = MADE.of(context).get(saved.map_id) ?? make(saved, context);
    using fd = openMap(made, accessFlags(canRead(saved.flags), canWrite(saved.flags)));
    setFlagsAndOwner(fd.number, saved.flags, saved.fown, context);
    return fd.release();
  },
};

const called = ({ name, id }: MapFacts): string => `the eBPF map ${nameIn(name) || id}`;

function refuse(file: OpenFile, reason: string): StasisError {
  return fileObstacle(file, 'FILE_BPF', reason, LOADED_AGAIN);
}

/** The programs that use the maps of a tree, by the ID of the map. */
const USERS = new KeyedSlot((_: SeenTree, mapId: number) => userOf(mapId));

/** The IDs of the maps whose entries are saved. */
const SAVED = new Slot((_: DumpContext) => new Set<number>());

function captureEntries(facts: MapFacts, context: DumpContext): void {
  const saved = SAVED.of(context);
  if (saved.has(facts.id)) return;
  saved.add(facts.id);
  // A descriptor that the task may only write through does not read either.
  using own = openMap(facts.id, accessFlags(true, false));
  const { count, keys, values } = readEntries(own.number, facts);
  const both = new Uint8Array(keys.length + values.length);
  both.set(keys);
  both.set(values, keys.length);
  const message = { map_id: facts.id, keys_bytes: keys.length, values_bytes: values.length, count };
  context.append(Images.bpfmapData, message, both);
}

/** The IDs of the new maps by those of the saved ones. */
const MADE = new Slot((_: RestoreContext) => new Map<number, number>());

/** Makes a map with its entries. Returns its new ID. */
function make(saved: BpfmapFileEntry, context: RestoreContext): number {
  const map = createMap({
    type: saved.map_type,
    keySize: saved.key_size,
    valueSize: saved.value_size,
    maxEntries: saved.max_entries,
    // The node of BPF_F_NUMA_NODE is told by nobody; it is the first one again, as from CRIU.
    flags: saved.map_flags,
    name: new TextEncoder().encode(saved.map_name.slice(0, 15)),
    mapExtra: saved.map_extra ?? 0n,
  });
  context.atEnd(() => map[Symbol.dispose]());
  const content = contentOf(saved, context);
  if (content) writeEntries(map.number, content);
  if (saved.frozen) freezeMap(map.number);
  const { id } = mapFacts(map.number);
  MADE.of(context).set(saved.map_id, id);
  return id;
}

/** The stored entries of all maps, by ID. */
const CONTENTS = new Slot(
  (context: RestoreContext) =>
    new Map(context.images.readEntries(Images.bpfmapData).map((entry) => [entry.message.map_id, entry])),
);

/** The entries of a map; undefined if none are stored. @throws ImageError if their sizes are not those of the map */
function contentOf({ map_id, key_size, value_size }: BpfmapFileEntry, context: RestoreContext): MapContent | undefined {
  const stored = CONTENTS.of(context).get(map_id);
  if (!stored) return undefined;
  const { keys_bytes, values_bytes, count } = stored.message;
  if (keys_bytes !== count * key_size || values_bytes !== count * value_size) {
    const reason = `the entries of map ${map_id} are not ${count} keys of ${key_size} bytes and values of ${value_size}`;
    throw new ImageError({ file: 'bpfmap-data.img', reason });
  }
  const bytes = stored.payload ?? new Uint8Array();
  return { count, keys: bytes.slice(0, keys_bytes), values: bytes.slice(keys_bytes) };
}
