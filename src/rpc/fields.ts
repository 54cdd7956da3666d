/**
 * The fields of `criu_opts` as settings. Each belongs to a row of the table of options; here is how a value of the wire
 * becomes one of the setting, by the type of the row, as `api/values.ts` says it for text.
 */

import type { OptionValue } from '../api/option-row.ts';
import { OPTIONS, type OptionRow } from '../api/options.ts';
import type { Asked } from '../api/refusals.ts';
import type { Draft } from '../api/values.ts';
import { StasisError } from '../base/errors.ts';
import { CriuCgMode, CriuNetworkLockMethod, type CriuOpts, CriuPreDumpMode } from '../images/schema/rpc.ts';
import { CLONE } from '../kernel/constants/tasks.ts';

/** Who asks, which decides about fields that only a client that has started us may use. */
export type Origin = 'parent' | 'service';

/** What the fields of a request come to. */
export interface Applied {
  /** The options that were given. */
  readonly asked: readonly Asked[];
  /** What is wrong with the first field that is wrong. */
  readonly error: StasisError | undefined;
}

/** Fields that say something about the conversation, not about the work; `serve.ts` and `workplace.ts` read them. */
export const CONVERSATION: readonly (keyof CriuOpts)[] = [
  'images_dir_fd',
  'images_dir',
  'work_dir_fd',
  'log_file',
  'log_to_stderr',
  'notify_scripts',
  'config_file',
];

/** Fields that change nothing, whatever they say; each is noted in the log. */
export const IDLE: Readonly<Partial<Record<keyof CriuOpts, string>>> = {
  pidfd_store_sk: 'processes are told apart without descriptors that are kept from one pre-dump to the next',
};

/** Fields that are read together with that of a row. */
export const BESIDES: readonly (keyof CriuOpts)[] = ['manage_cgroups', 'auto_ext_mnt', 'unix_sk_ino'];

/** Writes all fields of a request into `draft`. A field that is wrong does not keep the others from being read. */
export function applyFields(draft: Draft, opts: CriuOpts, origin: Origin): Applied {
  const asked: Asked[] = [];
  let error: StasisError | undefined;
  for (const option of OPTIONS) {
    const field = option.rpc?.[1] as keyof CriuOpts | undefined; // a test compares the table with the schema
    const value = field === undefined || CONVERSATION.includes(field) ? undefined : saidOf(option, field, opts);
    if (field === undefined || value === undefined || asksForNothing(value)) continue;
    const one = { option, as: field, at: 'criu_opts' };
    try {
      if (origin === 'service' && FOR_PARENTS.includes(option.long)) throw forParents(field);
      // The row's type picks the reader for that very type; TypeScript cannot follow the pair through the union.
      (READERS[option.value.type] as Reader<OptionValue['type']>)(draft, option.value, value as never, field);
      asked.push(one);
    } catch (thrown) {
      if (!(thrown instanceof StasisError)) throw thrown;
      error ??= thrown;
    }
  }
  return { asked, error };
}

/** Options that name descriptors or relatives of ours, which a client of the service knows nothing of. */
const FOR_PARENTS: readonly string[] = ['restore-sibling', 'inherit-fd', 'ps-socket', 'status-fd'];

function forParents(field: string): StasisError {
  return wrong(
    field,
    'it is for programs that start Stasis themselves (swrk), not for clients of the service',
    undefined,
  );
}

/** An empty list, and an empty text, which some clients send for what they do not want. */
function asksForNothing(value: unknown): boolean {
  return value === '' || (Array.isArray(value) && value.length === 0);
}

/** What a request says of an option. */
function saidOf(option: OptionRow, field: keyof CriuOpts, opts: CriuOpts): unknown {
  const other = OTHERWISE[option.long];
  return other ? other(opts) : opts[field];
}

/** Options whose value is not just that of their field. */
const OTHERWISE: Readonly<Record<string, (opts: CriuOpts) => unknown>> = {
  'page-server': ({ ps, lazy_pages }) => (ps && !lazy_pages ? true : undefined),
  address: ({ ps }) => ps?.address,
  port: ({ ps }) => ps?.port || undefined,
  'ps-socket': ({ ps }) => ps?.fd,
  verbosity: ({ log_level }) => log_level ?? 2,
  'exec-cmd': ({ exec_cmd }) => (exec_cmd.length > 0 ? true : undefined),
  'ext-unix-sk': ({ ext_unix_sk, unix_sk_ino }) =>
    ext_unix_sk ? { inodes: unix_sk_ino.map(({ inode }) => inode) } : undefined,
  'ext-mount-map': ({ ext_mnt, auto_ext_mnt }) =>
    ext_mnt.length > 0 || auto_ext_mnt ? { auto: auto_ext_mnt ?? false, pairs: ext_mnt } : undefined,
  // The flag is older than the mode.
  'manage-cgroups': ({ manage_cgroups: on, manage_cgroups_mode: mode }) =>
    mode ?? (on === undefined ? undefined : on ? CriuCgMode.SOFT : CriuCgMode.IGNORE),
};

type Of<T extends OptionValue['type']> = Extract<OptionValue, { type: T }>;
type Reader<T extends OptionValue['type']> = (draft: Draft, to: Of<T>, value: never, field: string) => void;

/** Values come with the types that the schema gives the fields of rows of that type. */
const READERS: { [T in OptionValue['type']]: Reader<T> } = {
  flag: (draft, to, value: boolean) => {
    draft[to.key] = value;
  },
  flags: (draft, to, value: boolean) => {
    for (const key of to.keys) draft[key] = value;
  },
  text: (draft, to, value: string, field) => {
    draft[to.key] = text(value, field);
  },
  texts: (draft, to, value: readonly string[], field) => {
    draft[to.key].push(...value.map((one) => text(one, field)));
  },
  commaTexts: (draft, to, value: readonly string[], field) => {
    draft[to.key].push(...value.flatMap((one) => text(one, field).split(',')).filter((word) => word !== ''));
  },
  number: (draft, to, value: number, field) => {
    const most = to.most ?? 2 ** 31 - 1;
    if (value < to.least || value > most) throw wrong(field, `${value} is out of range`, `${to.least} to ${most}`);
    draft[to.key] = value;
  },
  size: (draft, to, value: number) => {
    draft[to.key] = value;
  },
  choice: (draft, to, value: number, field) => {
    const word = WORDS[field]?.[value];
    if (word === undefined) throw wrong(field, `there is no meaning to ${value}`, undefined);
    Object.assign(draft, { [to.key]: word }); // a test compares the words with the choices of the rows
  },
  state: (draft, to, value: boolean) => {
    if (value) draft.finalState = to.state;
  },
  verbosity: (draft, _to, value: number) => {
    draft.verbosity = value;
  },
  cpuCap: (draft, _to, value: number) => {
    const [fpu, cpu, ins, image] = [1, 2, 4, 15].map((bits) => (value & bits) !== 0);
    draft.cpuCap = { fpu: fpu === true, cpu: cpu === true, ins: ins === true, image: image === true };
  },
  unixInodes: (draft, _to, { inodes }: { readonly inodes: readonly number[] }) => {
    draft.extUnixSk = true;
    draft.extUnixInodes.push(...inodes);
  },
  external: (draft, _to, value: readonly string[], field) => {
    draft.external.push(...value.map((one) => text(one, field)));
  },
  inheritFd: (draft, _to, value: CriuOpts['inherit_fd'], field) => {
    for (const { fd, key } of value) {
      if (fd < 0) throw wrong(field, `${fd} is no descriptor`, undefined);
      draft.inheritFd.push({ fd, key: text(key, field) });
    }
  },
  joinNs: (draft, _to, value: CriuOpts['join_ns'], field) => {
    for (const { ns, ns_file, extra_opt } of value) {
      draft.joinNs.push({ ns: text(ns, field), target: text(ns_file, field), options: extra_opt });
    }
  },
  extMountMap: (draft, _to, value: { readonly auto: boolean; readonly pairs: CriuOpts['ext_mnt'] }, field) => {
    draft.autoExtMounts ||= value.auto;
    for (const { key, val } of value.pairs) draft.extMountMap.push({ key: text(key, field), value: clean(val, field) });
  },
  cgroupRoot: (draft, _to, value: CriuOpts['cg_root'], field) => {
    for (const { ctrl, path } of value) draft.cgroupRoot.push({ key: ctrl, value: text(path, field) });
  },
  vethPair: (draft, _to, value: CriuOpts['veths'], field) => {
    for (const { if_in, if_out } of value) draft.vethPair.push({ key: text(if_in, field), value: text(if_out, field) });
  },
  emptyNs: (draft, _to, value: number, field) => {
    if (value & ~Number(CLONE.NEWNET))
      throw wrong(field, 'only a network namespace can be left empty', 'send CLONE_NEWNET, or 0');
    draft.emptyNetNs = value !== 0;
  },
  // No field of criu_opts belongs to a row of these.
  addressMap: () => {},
  closeFd: () => {},
  removed: () => {},
  'command line': () => {},
};

/** What the numbers of a field mean, in the words of its row. */
export const WORDS: Readonly<Record<string, Readonly<Record<number, string>>>> = {
  network_lock: {
    [CriuNetworkLockMethod.IPTABLES]: 'iptables',
    [CriuNetworkLockMethod.NFTABLES]: 'nftables',
    [CriuNetworkLockMethod.SKIP]: 'skip',
  },
  pre_dump_mode: { [CriuPreDumpMode.SPLICE]: 'splice', [CriuPreDumpMode.VM_READ]: 'read' },
  manage_cgroups_mode: {
    [CriuCgMode.IGNORE]: 'ignore',
    [CriuCgMode.CG_NONE]: 'none',
    [CriuCgMode.PROPS]: 'props',
    [CriuCgMode.SOFT]: 'soft',
    [CriuCgMode.FULL]: 'full',
    [CriuCgMode.STRICT]: 'strict',
    [CriuCgMode.DEFAULT]: 'soft',
  },
};

/** A text that can be a path or a name: the kernel would end it at a NUL. */
function text(value: string, field: string): string {
  if (value === '') throw wrong(field, 'it is empty', undefined);
  return clean(value, field);
}

function clean(value: string, field: string): string {
  if (value.includes('\0')) throw wrong(field, 'it has a NUL in it', undefined);
  return value;
}

function wrong(field: string, reason: string, remedy: string | undefined): StasisError {
  return new StasisError({ kind: 'usage', resource: `criu_opts.${field}`, reason, remedy });
}
