/** `crit`: shows what image files hold, turns them into JSON and back. Options and output as CRIU's own crit. */

import { readFileSync, writeFileSync } from 'node:fs';
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { printable, printErr, printOut, writeAll } from '../api/print.ts';
import { CRIU_VERSION } from '../api/version.ts';
import { asStasisError, StasisError } from '../base/errors.ts';
import { encodeText } from '../base/text.ts';
import { imageFromJson, imageToJson, type JsonOptions } from '../images/crit-json.ts';
import { type DecodedImage, decodeImage, UnknownMagicError } from '../images/image.ts';
import { parseJson, printJson } from '../images/json.ts';
import { exploreImages, isView, VIEWS } from './crit-explore.ts';

type Options = NonNullable<ParseArgsConfig['options']>;

const USAGE = `Usage: crit decode [-i IMAGE] [-o JSON] [--pretty]   an image as JSON
       crit encode [-i JSON] [-o IMAGE]              JSON, of either form, as an image
       crit info IMAGE                               what kind of image it is, and how many entries it has
       crit show IMAGE [--nopl]                      an image for people; --nopl leaves payloads out
       crit x DIR {${VIEWS.join(',')}}                   what the images of a folder hold together
       crit --version | --help
Without -i and -o: standard input and output.
`;

const FILES = { in: { type: 'string', short: 'i' }, out: { type: 'string', short: 'o' } } as const;
const PRETTY_INDENT = 4;

/** Runs crit with its own arguments; returns its exit code: 0, 1 for anything that fails, 2 for wrong usage. */
export async function run(args: readonly string[]): Promise<number> {
  try {
    obey(args);
    return 0;
  } catch (thrown) {
    if (isBrokenPipe(thrown)) return 1;
    const error = thrown instanceof UnknownMagicError ? rawImage(thrown) : asStasisError(thrown);
    printErr(`crit: ${printable(error.message)}\n`);
    if (error.remedy) printErr(`Hint: ${printable(error.remedy)}\n`);
    return error.kind === 'usage' ? 2 : 1;
  }
}

function obey(args: readonly string[]): void {
  const [command, ...rest] = args;
  if (rest.includes('--help') || rest.includes('-h')) {
    printOut(USAGE);
    return;
  }
  switch (command) {
    case 'decode': {
      const { values } = parse(rest, { ...FILES, pretty: { type: 'boolean' } }, []);
      decode(textOf(values.in), textOf(values.out), { pretty: values.pretty === true });
      return;
    }
    case 'show': {
      const { values, operands } = parse(rest, { nopl: { type: 'boolean' } }, ['IMAGE']);
      decode(operands[0], undefined, { pretty: true, withoutPayload: values.nopl === true });
      return;
    }
    case 'encode': {
      const { values } = parse(rest, FILES, []);
      encode(textOf(values.in), textOf(values.out));
      return;
    }
    case 'info':
      info(parse(rest, {}, ['IMAGE']).operands[0]);
      return;
    case 'x': {
      const [dir = '', view = ''] = parse(rest, {}, ['DIR', VIEWS.join('|')]).operands;
      if (!isView(view)) throw usage(`x: '${view}' is none of ${VIEWS.join(', ')}`);
      exploreImages(dir, view, warn, printOut);
      return;
    }
    case '--version':
      printOut(`${CRIU_VERSION}\n`);
      return;
    case '--help':
    case '-h':
      printOut(USAGE);
      return;
    case undefined:
      printErr(USAGE);
      // No usage error: the exit code is 1, where that of other misuse is 2.
      throw new StasisError({ kind: 'image', reason: 'too few arguments' });
    default:
      throw usage(`'${command}' is no command`);
  }
}

function decode(input: string | undefined, output: string | undefined, options: JsonOptions): void {
  const json = imageToJson(load(input), options);
  const text = printJson(json, options.pretty ? PRETTY_INDENT : undefined);
  if (output === undefined) writeAll(1, encodeText(`${text}\n`));
  else writeFile(output, encodeText(text));
}

function encode(input: string | undefined, output: string | undefined): void {
  const file = input ?? 'standard input';
  const image = imageFromJson(parseJson(readText(input), file), file);
  if (output === undefined) writeAll(1, image);
  else writeFile(output, image);
}

function info(input: string | undefined): void {
  const { kind, entries } = load(input);
  // The head of a pagemap is no entry of it.
  const count = kind.name === 'PAGEMAP' ? entries.length - 1 : entries.length;
  printOut(`${printJson({ magic: kind.name, count }, PRETTY_INDENT)}\n`);
}

function load(input: string | undefined): DecodedImage {
  return decodeImage(input ?? 'standard input', readBytes(input), { onUnknown: warn });
}

function warn(error: StasisError): void {
  printErr(`crit: warning: ${printable(error.message)}\n`);
}

function readBytes(input: string | undefined): Uint8Array {
  try {
    return readFileSync(input ?? 0);
  } catch (cause) {
    throw new StasisError({ kind: 'io', resource: input ?? 'standard input', reason: reasonOf(cause), cause });
  }
}

function readText(input: string | undefined): string {
  const bytes = readBytes(input);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    const remedy = 'encode makes images of JSON; to read an image, use decode';
    throw new StasisError({ kind: 'image', resource: input, reason: 'this is not JSON text', remedy, cause });
  }
}

function writeFile(path: string, bytes: Uint8Array): void {
  try {
    writeFileSync(path, bytes);
  } catch (cause) {
    throw new StasisError({ kind: 'io', resource: path, reason: reasonOf(cause), cause });
  }
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/** Whether the reader has gone (`crit show … | head`), which is not reported as a failure. */
function isBrokenPipe(thrown: unknown): boolean {
  return thrown instanceof Error && 'code' in thrown && thrown.code === 'EPIPE';
}

function rawImage({ file, magic }: UnknownMagicError): StasisError {
  const remedy = 'pages, archives, routes and firewall rules are stored as they are, and no images in this sense';
  return new StasisError({ kind: 'image', reason: `Unknown magic 0x${magic.toString(16)} in ${file}`, remedy });
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

/** Parses a command's arguments, which must have exactly these operands. */
function parse(
  args: readonly string[],
  options: Options,
  expected: readonly string[],
): { values: Record<string, unknown>; operands: string[] } {
  const { values, positionals } = strictly(args, options);
  if (positionals.length !== expected.length) {
    const wanted = expected.length === 0 ? 'no operands' : expected.join(' ');
    throw usage(`${wanted} expected, got '${positionals.join(' ')}'`);
  }
  return { values, operands: positionals };
}

function strictly(args: readonly string[], options: Options) {
  try {
    return parseArgs({ args: args.map((arg) => unabbreviated(arg, options)), options, allowPositionals: true });
  } catch (error) {
    throw usage(reasonOf(error));
  }
}

/** The whole name of a long option that may be cut short. */
function unabbreviated(arg: string, options: Options): string {
  const [, name, value = ''] = /^--([a-z]+)(=.*)?$/.exec(arg) ?? [];
  if (name === undefined) return arg;
  const candidates = Object.keys(options).filter((option) => option.startsWith(name));
  return candidates.length === 1 ? `--${candidates[0]}${value}` : arg;
}

function usage(reason: string): StasisError {
  return new StasisError({ kind: 'usage', reason, remedy: 'crit --help lists the commands' });
}
