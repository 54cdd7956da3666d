/**
 * Brings page contents from a source to a sink. They never become JavaScript objects: they pass through one reused
 * buffer that is small enough to stay in the processor's cache between the read and the write.
 */
import type { PinnedBuffer } from '../kernel/ffi.ts';
import { Helper, type RemoteWork, shareOut, WORTH_A_HELPER } from '../tracee/helper-process.ts';
import { requireUninterrupted } from '../tracee/interruption.ts';
import { hexSums, SUMS_SIZE } from './page-sums.ts';
import { LOT_SIZE, type Lot } from './plan/lots.ts';
import type { PageSink, SinkFile } from './sinks/sink.ts';
import type { PageSource, RemoteReads } from './sources/source.ts';

/** What takes part in a transfer. */
export interface Transfer {
  readonly source: PageSource;
  readonly sink: PageSink;
  /** At least {@link LOT_SIZE} bytes. */
  readonly buffer: PinnedBuffer;
  /** Puts a lot into the sink without its content passing through us; answers whether it could. */
  readonly shortcut?: ((lot: Lot) => boolean) | undefined;
  /** Told of each lot that is done. */
  readonly stepped?: ((bytes: number) => void) | undefined;
}

/** Transfers lots; a helper process takes part if there is much to do. @throws StasisError */
export function transfer(lots: readonly Lot[], what: Transfer): void {
  const { source, sink, buffer, shortcut, stepped } = what;
  const store = (lot: Lot): void => {
    requireUninterrupted();
    stepped?.(lot.length);
    if (lot.origin === 'same' && shortcut?.(lot)) return;
    source.read(lot, buffer);
    sink.put(lot, buffer);
  };
  const { remotely } = source;
  const { file } = sink;
  const bytes = lots.reduce((sum, { length }) => sum + length, 0);
  if (bytes < WORTH_A_HELPER || !remotely || !file) lots.forEach(store);
  else transferWithHelper(lots, remotely, file, store, stepped);
}

/**
 * Transfers lots with the help of a second process. What the helper cannot read is read again here, where errors are
 * reported. Lots that are copied in the kernel are left to us.
 */
function transferWithHelper(
  lots: readonly Lot[],
  remotely: RemoteReads,
  file: SinkFile,
  store: (lot: Lot) => void,
  stepped: ((bytes: number) => void) | undefined,
): void {
  using helper = Helper.start(LOT_SIZE, [file.fd, remotely.descriptor]);
  const isOurs = (lot: Lot): boolean => !helper || lot.origin === 'same' || remotely.isOurs(lot);
  for (const lot of lots) if (isOurs(lot)) store(lot);
  if (!helper) return;
  const [out = -1, from = -1] = helper.descriptors;
  const copy: RemoteWork<Lot> = (program, lot) => {
    const [calls, heap] = remotely.need(lot);
    if (!program.fits(calls + 2, heap + SUMS_SIZE)) return undefined;
    const read = remotely.add(program, lot, helper, from);
    const sums = program.space(SUMS_SIZE);
    const summed = program.run(helper.sums, helper.buffer, lot.length, sums);
    const written = program.attempt('pwrite64', out, helper.buffer, lot.length, file.base + lot.offset);
    return (results) => {
      if (!read(results) || results.result(written) !== lot.length) return store(lot);
      const known = results.result(summed) === 0;
      file.note(lot, known ? [[lot.length, hexSums(results.bytes(sums, SUMS_SIZE))]] : []);
      stepped?.(lot.length);
    };
  };
  shareOut(
    lots.filter((lot) => !isOurs(lot)),
    helper.remote,
    copy,
    store,
  );
}
