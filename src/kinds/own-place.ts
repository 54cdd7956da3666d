/**
 * What CRIU's images have no place for, of open files: one line of JSON for each note in a file of our own. CRIU opens
 * only names that end in `.img`.
 */
import { StasisError } from '../base/errors.ts';
import { O } from '../kernel/constants/files.ts';
import { disk } from '../kernel/disk.ts';
import type { DumpContext, Json, RestoreContext } from './contract.ts';

const NAME = 'stasis-files.jsonl';

interface Note {
  readonly id: number;
  readonly kind: string;
  readonly value: Json;
}

/** Remembers `value` for a file of this dump, by its id in files.img. @throws StasisError (io) */
export function noteFile(context: DumpContext, kind: string, id: number, value: Json): void {
  const note: Note = { id, kind, value };
  const line = new TextEncoder().encode(`${JSON.stringify(note)}\n`);
  const first = context.shared('own-place', () => ({ written: false }));
  if (first.written) {
    append(`${context.images.dir}/${NAME}`, line);
  } else {
    context.images.put(NAME, line); // takes away what an earlier dump left under this name
    first.written = true;
  }
}

function append(path: string, bytes: Uint8Array): void {
  try {
    const fd = disk.open(path, O.WRONLY | O.APPEND, 0);
    disk.write(fd, bytes);
    disk.close(fd);
  } catch (cause) {
    throw new StasisError({ kind: 'io', resource: path, reason: `cannot be written: ${String(cause)}`, cause });
  }
}

/** What was noted for a file; undefined if nothing was, or if CRIU made the images. @throws StasisError (image) */
export function notedFile(context: RestoreContext, kind: string, id: number): Json | undefined {
  return context.shared('own-place', () => readNotes(`${context.images.dir}/${NAME}`)).get(`${kind} ${id}`);
}

function readNotes(path: string): Map<string, Json> {
  const text = disk.readText(path);
  if (text === undefined) return new Map(); // no notes: the usual case
  try {
    const lines = text.split('\n').filter((line) => line !== '');
    return new Map(
      lines.map((line) => JSON.parse(line) as Note).map((note) => [`${note.kind} ${note.id}`, note.value]),
    );
  } catch (cause) {
    throw new StasisError({ kind: 'image', resource: NAME, reason: 'damaged: not lines of JSON', cause });
  }
}
