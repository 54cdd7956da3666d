/**
 * JSON that keeps 64-bit numbers exact. It is printed exactly as Python's json module prints it, because users of crit
 * compare the texts.
 */

import { ImageError } from './error.ts';

/** A JSON value; an integer too large to be an exact number is a bigint. */
export type Json = null | boolean | number | bigint | string | Json[] | JsonObject;

/** A JSON object. Parsed ones have no prototype, so that no key is special. */
export interface JsonObject {
  [key: string]: Json;
}

/** Prints on one line, or with `indent` spaces for each level. Everything but ASCII is escaped. */
export function printJson(value: Json, indent?: number): string {
  return printValue(value, indent === undefined ? undefined : ' '.repeat(indent), '\n');
}

function printValue(value: Json, step: string | undefined, newline: string): string {
  if (typeof value === 'string') return printString(value);
  if (typeof value !== 'object' || value === null) return String(value);
  const inner = newline + (step ?? '');
  if (Array.isArray(value)) {
    const items = value.map((item) => printValue(item, step, inner));
    return wrap('[', items, ']', step, newline);
  }
  const items = Object.keys(value).map((key) => `${printString(key)}: ${printValue(value[key] as Json, step, inner)}`);
  return wrap('{', items, '}', step, newline);
}

function wrap(open: string, items: string[], close: string, step: string | undefined, newline: string): string {
  if (items.length === 0) return open + close;
  if (step === undefined) return open + items.join(', ') + close;
  return `${open}${newline}${step}${items.join(`,${newline}${step}`)}${newline}${close}`;
}

const SHORT_ESCAPES: Record<string, string> = {
  '"': '\\"',
  '\\': '\\\\',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\f': '\\f',
  '\b': '\\b',
};

function printString(text: string): string {
  const escaped = text.replace(
    /["\\]|[^ -~]/g,
    (char) => SHORT_ESCAPES[char] ?? `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  return `"${escaped}"`;
}

/** Deepest nesting accepted; no image nests that deep. */
const MAX_DEPTH = 1024;

/** Parses JSON; throws ImageError naming `file` and the character where it stops being JSON. */
export function parseJson(text: string, file: string): Json {
  const parser = new Parser(text, file);
  const value = parser.value(0);
  parser.end();
  return value;
}

class Parser {
  private pos = 0;
  private readonly text: string;
  private readonly file: string;

  constructor(text: string, file: string) {
    this.text = text;
    this.file = file;
  }

  value(depth: number): Json {
    if (depth > MAX_DEPTH) throw this.error('nested too deeply');
    const char = this.peek();
    if (char === '{') return this.object(depth);
    if (char === '[') return this.array(depth);
    if (char === '"') return this.string();
    const word = this.match(/[-+.\w]+/y);
    if (word === 'true') return true;
    if (word === 'false') return false;
    if (word === 'null') return null;
    if (!/^-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?$/.test(word)) throw this.error('not JSON');
    const number = Number(word);
    return Number.isSafeInteger(number) || !/^-?\d+$/.test(word) ? number : BigInt(word);
  }

  /** Checks that only white space is left. */
  end(): void {
    if (this.peek() !== '') throw this.error('text after the end of the JSON');
  }

  private object(depth: number): JsonObject {
    const object: JsonObject = Object.create(null);
    this.list('}', () => {
      if (this.peek() !== '"') throw this.error('a name in quotes expected');
      const name = this.string();
      this.expect(':');
      object[name] = this.value(depth + 1);
    });
    return object;
  }

  private array(depth: number): Json[] {
    const array: Json[] = [];
    this.list(']', () => array.push(this.value(depth + 1)));
    return array;
  }

  private list(close: string, item: () => void): void {
    this.pos++;
    if (this.peek() === close) {
      this.pos++;
      return;
    }
    for (;;) {
      item();
      if (this.peek() === close) break;
      this.expect(',');
    }
    this.pos++;
  }

  private string(): string {
    const start = this.pos + 1;
    let end = start;
    while (this.text[end] !== '"') {
      if (this.text[end] === '\\') end++;
      if (end >= this.text.length) throw this.error('string without an end');
      end++;
    }
    this.pos = end + 1;
    const raw = this.text.slice(start, end);
    return raw.includes('\\') ? this.unescaped(raw) : raw;
  }

  private unescaped(raw: string): string {
    return raw.replace(/\\(?:u([\da-fA-F]{4})|(.|\n))/g, (_, hex?: string, char?: string) => {
      if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16));
      const plain = UNESCAPED[char ?? ''];
      if (plain === undefined) throw this.error('unknown escape in a string');
      return plain;
    });
  }

  /** The next character that is not white space, without consuming it; '' at the end. */
  private peek(): string {
    const { text } = this;
    while (this.pos < text.length && ' \t\n\r'.includes(text[this.pos] as string)) this.pos++;
    return text[this.pos] ?? '';
  }

  private expect(char: string): void {
    if (this.peek() !== char) throw this.error(`'${char}' expected`);
    this.pos++;
  }

  private match(pattern: RegExp): string {
    pattern.lastIndex = this.pos;
    const [found] = pattern.exec(this.text) ?? [];
    if (found === undefined) throw this.error(this.pos < this.text.length ? 'not JSON' : 'JSON ends too early');
    this.pos += found.length;
    return found;
  }

  private error(reason: string): ImageError {
    return new ImageError({ file: this.file, offset: this.pos, reason });
  }
}

const UNESCAPED: Record<string, string> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  n: '\n',
  r: '\r',
  t: '\t',
  f: '\f',
  b: '\b',
};
