/**
 * Forms of JSON: what the files beside the images must look like, declared once. Reading checks and gives the type:
 *
 *     const note = object({ id: whole, kind: text, value: optional(list(text)) });
 *     type Note = FormType<typeof note>; // { id: number; kind: string; value?: string[] }
 *     const value = readForm(note, parsed, 'stasis-files.jsonl');
 *
 * An error names file and field, as those of images do. Members that no form tells of are passed over: a newer version
 * of Stasis may have more to say.
 */
import { decodeText } from '../base/text.ts';
import { ImageError } from './error.ts';

/** What a value must look like. */
export interface Form<T> {
  /** The value as its type. @throws ImageError naming the field, by `at.fail` */
  read(value: unknown, at: Place): T;
  /** A member of this form may be absent. */
  readonly absent?: boolean;
}

/** The type of the values of a form. */
export type FormType<F> = F extends Form<infer T> ? T : never;

/** Where in a file a value stands. */
export class Place {
  readonly #file: string;
  readonly #field: string;

  constructor(file: string, field = '') {
    this.#file = file;
    this.#field = field;
  }

  /** A member, or an element. */
  at(name: string | number): Place {
    const step = typeof name === 'number' ? `[${name}]` : this.#field === '' ? name : `.${name}`;
    return new Place(this.#file, this.#field + step);
  }

  /** Throws the error for a value of another form. */
  fail(expected: string): never {
    throw new ImageError({
      file: this.#file,
      field: this.#field || undefined,
      reason: `damaged: ${expected} expected`,
    });
  }
}

/** Reads a value that was JSON. @throws ImageError naming file and field */
export function readForm<T>(form: Form<T>, value: unknown, file: string): T {
  return form.read(value, new Place(file));
}

/** Reads a file that is one value. @throws ImageError */
export function readJson<T>(form: Form<T>, bytes: Uint8Array, file: string): T {
  return readForm(form, parsed(decodeText(bytes), file), file);
}

/** Reads a file that has a value on each line; with each, where it stands. @throws ImageError naming the line */
export function readJsonLines<T>(form: Form<T>, bytes: Uint8Array, file: string): { value: T; place: Place }[] {
  return decodeText(bytes)
    .split('\n')
    .flatMap((line, i) => {
      if (line === '') return [];
      const place = new Place(file, `line ${i + 1}`);
      return [{ value: form.read(parsed(line, file, `line ${i + 1}`), place), place }];
    });
}

function parsed(json: string, file: string, field?: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    throw new ImageError({ file, field, reason: 'damaged: not JSON' });
  }
}

function simple<T>(what: string, is: (value: unknown) => value is T): Form<T> {
  return { read: (value, at) => (is(value) ? value : at.fail(what)) };
}

/** Any text. */
export const text: Form<string> = simple('text', (value) => typeof value === 'string');

/** True or false. */
export const flag: Form<boolean> = simple('true or false', (value) => typeof value === 'boolean');

/** A whole number from 0 on that a double holds exactly. */
export const whole: Form<number> = simple(
  'a whole number',
  (value): value is number => Number.isSafeInteger(value) && (value as number) >= 0,
);

/** As {@link whole}, or below 0. */
export const signed: Form<number> = simple('a whole number', (value): value is number => Number.isSafeInteger(value));

/** A number of 64 bits, as text in decimal. */
export const decimal: Form<string> = simple(
  'a decimal number as text',
  (value): value is string => typeof value === 'string' && /^-?\d{1,20}$/.test(value),
);

/** A number in hexadecimal, as text. */
export const hexadecimal: Form<string> = simple(
  'a hexadecimal number as text',
  (value): value is string => typeof value === 'string' && /^[\da-f]+$/i.test(value),
);

/** Bytes, in Base64. */
export const base64: Form<string> = simple(
  'Base64',
  (value): value is string => typeof value === 'string' && /^[\w+/\s]*={0,2}\s*$/.test(value),
);

/** One of some texts. */
export function oneOf<const T extends string>(...texts: readonly T[]): Form<T> {
  return simple(`one of ${texts.join(', ')}`, (value): value is T => texts.includes(value as T));
}

/** Anything that JSON can be; the reader looks at it itself. */
export const anything: Form<unknown> = { read: (value) => value };

/** A list with a form for each place. */
export function tuple<const F extends readonly Form<unknown>[]>(
  ...forms: F
): Form<{ readonly [K in keyof F]: FormType<F[K]> }> {
  return {
    read: (value, at) => {
      if (!Array.isArray(value) || value.length !== forms.length) return at.fail(`a list of ${forms.length} values`);
      const read = forms.map((form, i) => form.read(value[i], at.at(i)));
      return read as { readonly [K in keyof F]: FormType<F[K]> };
    },
  };
}

/** A list of any length. */
export function list<T>(of: Form<T>): Form<T[]> {
  return {
    read: (value, at) => (Array.isArray(value) ? value.map((item, i) => of.read(item, at.at(i))) : at.fail('a list')),
  };
}

/** An object with names that are not known beforehand. */
export function dictionary<T>(of: Form<T>): Form<Record<string, T>> {
  return {
    read: (value, at) => {
      const result: Record<string, T> = Object.create(null);
      for (const [name, member] of Object.entries(record(value, at))) result[name] = of.read(member, at.at(name));
      return result;
    },
  };
}

type Members = Readonly<Record<string, Form<unknown>>>;
type Optional<M extends Members> = { [K in keyof M]: M[K] extends { absent: true } ? K : never }[keyof M];
type ObjectType<M extends Members> = { [K in Exclude<keyof M, Optional<M>>]: FormType<M[K]> } & {
  [K in Optional<M>]?: FormType<M[K]>;
};

/** An object with these members. */
export function object<const M extends Members>(members: M): Form<ObjectType<M>> {
  return {
    read: (value, at) => {
      const found = record(value, at);
      const result: Record<string, unknown> = {};
      for (const [name, form] of Object.entries(members)) {
        const member = Object.hasOwn(found, name) ? found[name] : undefined;
        if (member !== undefined) result[name] = form.read(member, at.at(name));
        else if (!form.absent) at.at(name).fail('a value');
      }
      return result as ObjectType<M>;
    },
  };
}

/** A member that may be absent. */
export function optional<T>(form: Form<T>): Form<T> & { readonly absent: true } {
  return { ...form, absent: true };
}

function record(value: unknown, at: Place): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) at.fail('an object');
  return value as Record<string, unknown>;
}
