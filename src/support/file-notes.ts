/**
 * State of open files that CRIU's images have no place for: one line of JSON for each note, in a file that CRIU does
 * not open because its name does not end in `.img`.
 */
import { StasisError } from '../base/errors.ts';
import { decodeText } from '../base/text.ts';
import type { DumpContext, Json, RestoreContext } from '../contract/contract.ts';
import { Slot } from '../contract/slots.ts';

const NAME = 'stasis-files.jsonl';

interface Note {
  readonly id: number;
  readonly kind: string;
  readonly value: Json;
}

/** Records `value` for a file of this dump, by its ID in files.img. @throws StasisError (io) */
export function noteFile(context: DumpContext, kind: string, id: number, value: Json): void {
  const note: Note = { id, kind, value };
  context.images.append(NAME, new TextEncoder().encode(`${JSON.stringify(note)}\n`));
}

/**
 * The value recorded for a file; undefined if there is none, or if CRIU made the images. @throws StasisError (image)
 */
export function notedFile(context: RestoreContext, kind: string, id: number): Json | undefined {
  return NOTES.of(context).get(`${kind} ${id}`);
}

const NOTES = new Slot((context: RestoreContext) => readNotes(context.images.own(NAME)));

function readNotes(bytes: Uint8Array | undefined): Map<string, Json> {
  if (!bytes) return new Map(); // no notes: the usual case
  try {
    const lines = decodeText(bytes)
      .split('\n')
      .filter((line) => line !== '');
    return new Map(
      lines.map((line) => JSON.parse(line) as Note).map((note) => [`${note.kind} ${note.id}`, note.value]),
    );
  } catch (cause) {
    throw new StasisError({ kind: 'image', resource: NAME, reason: 'damaged: not lines of JSON', cause });
  }
}
