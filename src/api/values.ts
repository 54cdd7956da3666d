/**
 * Turns the text of an option's argument into a typed setting. Where CRIU's `atoi` would take anything, this is strict:
 * a number with something behind it is reported as a mistake.
 */

import { StasisError } from '../base/errors.ts';
import type { LogLevel } from '../base/log.ts';
import { parseInetEnd } from '../network/address-map.ts';
import type { OptionValue } from './options.ts';
import type { Asked } from './refusals.ts';
import type { CpuCap, KeyValue, Settings } from './settings.ts';

/** An option with its argument, as people write it. */
export interface Given extends Asked {
  readonly value: string | undefined;
  readonly negated: boolean;
}

/** Settings while options are being applied: the verbosity may be any number, and is clamped when all have been. */
export type Draft = Omit<Settings, 'verbosity'> & { verbosity: number };

type Of<T extends OptionValue['type']> = Extract<OptionValue, { type: T }>;
type Writer<T extends OptionValue['type']> = (draft: Draft, to: Of<T>, given: Given) => void;

/**
 * Writes what an option says into `draft`. Later options win over earlier ones; lists grow.
 *
 * @throws StasisError (usage) when the argument is not what the option takes
 */
export function applyOption(draft: Draft, given: Given): void {
  const to = given.option.value;
  // The row's type picks the writer for that very type; TypeScript cannot follow the pair through the union.
  (WRITERS[to.type] as Writer<OptionValue['type']>)(draft, to, given);
}

/** The settings of a draft to which all options were applied; CRIU's environment variables come last. */
export function settle(draft: Draft, env: Readonly<Record<string, string | undefined>>): Settings {
  const verbosity = Math.min(4, Math.max(0, draft.verbosity)) as LogLevel; // -vvvvvv means the highest level
  draft.deprecated ||= env.CRIU_DEPRECATED !== undefined;
  draft.libdir ??= env.CRIU_LIBS_DIR;
  for (const key of ['tlsCacert', 'tlsCacrl', 'tlsCert', 'tlsKey'] as const) draft[key] = absolute(draft[key]);
  return Object.assign(draft, { verbosity });
}

/** These files count from the directory in which the command was started, whichever it works in. */
function absolute(path: string | undefined): string | undefined {
  return path === undefined || path.startsWith('/') ? path : `${process.cwd()}/${path}`;
}

const WRITERS: { [T in OptionValue['type']]: Writer<T> } = {
  flag: (draft, to, given) => {
    draft[to.key] = !given.negated;
  },
  flags: (draft, to) => {
    for (const key of to.keys) draft[key] = true;
  },
  text: (draft, to, given) => {
    draft[to.key] = text(given);
  },
  texts: (draft, to, given) => {
    draft[to.key].push(text(given));
  },
  commaTexts: (draft, to, given) => {
    draft[to.key].push(
      ...text(given)
        .split(',')
        .filter((word) => word !== ''),
    );
  },
  number: (draft, to, given) => {
    draft[to.key] = wholeNumber(given, to.least, to.most);
  },
  size: (draft, to, given) => {
    draft[to.key] = size(given);
  },
  choice: (draft, to, given) => {
    const word = given.value ?? to.bare ?? '';
    const meaning = Object.hasOwn(to.choices, word) ? to.choices[word] : undefined;
    if (meaning === undefined) throw wrong(given, `is one of ${Object.keys(to.choices).join(', ')}`);
    Object.assign(draft, { [to.key]: meaning }); // the table's choices are the words of that setting's type
  },
  state: (draft, to) => {
    draft.finalState = to.state;
  },
  verbosity: (draft, _to, given) => {
    draft.verbosity = verbosity(draft.verbosity, given.value);
  },
  cpuCap: (draft, _to, given) => {
    draft.cpuCap = cpuCap(draft.cpuCap, given);
  },
  unixInodes: (draft, _to, given) => {
    draft.extUnixSk = true;
    draft.extUnixInodes.push(...unixInodes(given));
  },
  external: (draft, _to, given) => {
    draft.external.push(text(given));
  },
  inheritFd: (draft, _to, given) => {
    const parts = /^fd\[(\d+)\]:(.+)$/s.exec(text(given));
    if (!parts) throw wrong(given, 'has a number for N, as fd[3]:pipe:[1234]');
    draft.inheritFd.push({ fd: Number(parts[1]), key: parts[2] as string }); // both groups always match
  },
  joinNs: (draft, _to, given) => {
    const parts = /^(\w+):([^,]+)(?:,(.*))?$/s.exec(text(given));
    const ns = parts?.[1] ?? '';
    if (!parts || !NAMESPACES.includes(ns)) {
      throw wrong(given, `has the form NS:PID or NS:FILE, with NS one of ${NAMESPACES.join(', ')}`);
    }
    draft.joinNs.push({ ns, target: parts[2] as string, options: parts[3] }); // group 2 always matches
  },
  extMountMap: (draft, _to, given) => {
    if (given.value === 'auto') draft.autoExtMounts = true;
    else draft.extMountMap.push(pair(given, ':'));
  },
  cgroupRoot: (draft, _to, given) => {
    // The hierarchy of cgroup v2 has an empty name.
    const [, key, value = ''] = /^(?:([^:]*):)?(.*)$/s.exec(text(given)) ?? [];
    if (value === '') throw wrong(given, 'names a path in the hierarchy');
    draft.cgroupRoot.push({ key, value });
  },
  vethPair: (draft, _to, given) => {
    draft.vethPair.push(pair(given, '='));
  },
  addressMap: (draft, _to, given) => {
    draft.inetAddrMap.push(addressPair(given, draft.inetAddrMap));
  },
  closeFd: (draft, _to, given) => {
    draft.closeFds.push(wholeNumber(given, 0));
  },
  emptyNs: (draft, _to, given) => {
    if (given.value !== 'net') throw wrong(given, 'can only be net');
    draft.emptyNetNs = true;
  },
  removed: (_draft, to, given) => {
    throw usage(given, 'is gone', to.remedy);
  },
  'command line': () => {},
};

const NAMESPACES: readonly string[] = ['net', 'uts', 'ipc', 'time', 'mnt', 'pid', 'user'];

function text(given: Given): string {
  if (!given.value) throw usage(given, 'is empty', `write ${given.as} ${given.option.arg}`);
  return given.value;
}

function wholeNumber(given: Given, least: number, most = 2 ** 31 - 1): number {
  const value = Number(given.value);
  if (!/^\+?\d+$/.test(given.value ?? '') || value < least || value > most) {
    throw wrong(given, most === 2 ** 31 - 1 ? `is a whole number from ${least}` : `is from ${least} to ${most}`);
  }
  return value;
}

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };

function size(given: Given): number {
  const parts = /^(\d+)([KMG]?)$/i.exec(given.value ?? '');
  // K, M, G or ''
  const bytes = parts ? Number(parts[1]) * (UNITS[(parts[2] as string).toUpperCase()] as number) : Number.NaN;
  if (!Number.isSafeInteger(bytes)) throw wrong(given, 'is a number of bytes, with K, M or G if you like');
  return bytes;
}

/**
 * The level after one more `-v`: without a value one higher, `vvv` (the rest of `-vvvv`) one for each v, a number
 * sets it, and any other word counts as 0, as for C's `atoi` (`-verbosity=0` depends on it).
 */
export function verbosity(before: number, value: string | undefined): number {
  if (value === undefined) return before + 1;
  if (value.startsWith('v')) return before + value.length + 1;
  return Number.parseInt(value, 10) || 0;
}

const CPU_WORDS: Readonly<Record<string, Omit<CpuCap, 'image'>>> = {
  fpu: { fpu: true, ins: false, cpu: false },
  ins: { fpu: false, ins: true, cpu: false },
  cpu: { fpu: false, ins: false, cpu: true },
  all: { fpu: true, ins: true, cpu: true },
};

/** `fpu,^ins`: words add to what is there, `^` takes away; `none` clears all; without a list, everything. */
function cpuCap(before: CpuCap, given: Given): CpuCap {
  const now = { ...before };
  const put = (word: string, on: boolean): void => {
    const named = Object.hasOwn(CPU_WORDS, word) ? CPU_WORDS[word] : undefined;
    if (!named) throw wrong(given, 'is a list of fpu, ins, cpu, all, none, each perhaps with ^ before it');
    if (named.fpu) now.fpu = on;
    if (named.ins) now.ins = on;
    if (named.cpu) now.cpu = on;
  };
  for (const item of (given.value ?? 'all').split(',')) {
    if (item === '') continue;
    const word = item.replace(/^\^+/, '');
    const carets = item.length - word.length;
    const on = carets % 2 === 0;
    if (word === 'none') put('all', !on);
    else put(word, on);
  }
  now.image = now.fpu || now.ins || now.cpu;
  return now;
}

function unixInodes(given: Given): number[] {
  const words = (given.value ?? '').split(',').filter((word) => word !== '');
  return words.map((word) => {
    const inode = Number(word);
    if (!/^\d+$/.test(word) || inode === 0 || inode > 0xffffffff) {
      throw wrong(given, 'is a list of socket inodes: 1234,5678');
    }
    return inode;
  });
}

function pair(given: Given, separator: string): KeyValue {
  const whole = text(given);
  const at = whole.indexOf(separator);
  if (at < 1) throw wrong(given, `has a ${separator} in the middle`);
  return { key: whole.slice(0, at), value: whole.slice(at + 1) };
}

/** A pair of addresses, both with a port or both without, both of IPv4 or both of IPv6. */
function addressPair(given: Given, before: readonly KeyValue[]): KeyValue {
  const found = pair(given, '=');
  const [old, now] = [parseInetEnd(found.key ?? ''), parseInetEnd(found.value)];
  const isPair = old && now && (old.port === undefined) === (now.port === undefined);
  if (!isPair) throw wrong(given, 'is two addresses, as 192.0.2.1=192.0.2.2, or [2001:db8::1]:80=[2001:db8::2]:80');
  if (old.address.length !== now.address.length) throw wrong(given, 'is two addresses of IPv4, or two of IPv6');
  const isKnown = before.some(({ key }) => {
    const other = parseInetEnd(key ?? '');
    return other?.port === old.port && other?.address.join() === old.address.join();
  });
  if (isKnown) throw usage(given, `${found.key} has another address already`, 'give each address once');
  return found;
}

function wrong(given: Given, form: string): StasisError {
  return usage(given, `cannot be "${given.value ?? ''}"`, `${given.option.arg} ${form}`);
}

function usage(given: Given, reason: string, remedy: string): StasisError {
  const resource = given.at === undefined ? given.as : `${given.at}: ${given.as}`;
  return new StasisError({ kind: 'usage', resource, reason, remedy });
}
