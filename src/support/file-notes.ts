/**
 * State of open files that CRIU's images have no place for: one line of JSON for each note, in a file that CRIU does
 * not open because its name does not end in `.img`.
 */
import type { DumpContext, Json, RestoreContext } from '../contract/contract.ts';
import { Slot } from '../contract/slots.ts';
import { anything, type Form, object, type Place, readJsonLines, text, whole } from '../images/form.ts';

const NAME = 'stasis-files.jsonl';

interface Note {
  readonly id: number;
  readonly kind: string;
  readonly value: Json;
}

/** The lines of a dump. They are written at once at the end: there may be one for each of thousands of files. */
const LINES = new Slot((_: DumpContext): string[] => []);

/** Records `value` for a file of this dump, by its ID in files.img. */
export function noteFile(context: DumpContext, kind: string, id: number, value: Json): void {
  const note: Note = { id, kind, value };
  LINES.of(context).push(`${JSON.stringify(note)}\n`);
}

/** Writes what was recorded, when everything is captured. @throws StasisError (io) */
export function writeNotes(context: DumpContext): void {
  const lines = LINES.ifMade(context);
  if (lines) context.images.put(NAME, new TextEncoder().encode(lines.join('')));
}

/**
 * The value recorded for a file; undefined if there is none, or if CRIU made the images.
 * @throws ImageError for a value of another form, naming the line
 */
export function notedFile<T>(context: RestoreContext, kind: string, id: number, form: Form<T>): T | undefined {
  const note = NOTES.of(context).get(`${kind} ${id}`);
  return note && form.read(note.value, note.place.at('value'));
}

const noteForm = object({ id: whole, kind: text, value: anything });

/** A value that is checked when its kind asks for it, and where it is, for the error. */
interface PlacedValue {
  readonly value: unknown;
  readonly place: Place;
}

const NOTES = new Slot((context: RestoreContext) => readNotes(context.images.own(NAME)));

function readNotes(bytes: Uint8Array | undefined): Map<string, PlacedValue> {
  const lines = bytes ? readJsonLines(noteForm, bytes, NAME) : []; // no notes: the usual case
  return new Map(lines.map(({ value: { id, kind, value }, place }) => [`${kind} ${id}`, { value, place }]));
}
