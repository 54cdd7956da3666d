/** The fields of `criu_opts`: each belongs to a row of the table of options, or to the conversation. */
import { describe, expect, test } from 'bun:test';
import { OPTIONS } from '../../../src/api/options.ts';
import { defaultSettings } from '../../../src/api/settings.ts';
import type { Draft } from '../../../src/api/values.ts';
import { decodeMessage, encodeMessage } from '../../../src/images/codec.ts';
import type { InputOf } from '../../../src/images/message.ts';
import { layoutOf } from '../../../src/images/message.ts';
import { CriuCgMode, type CriuOpts, CriuPreDumpMode, criuOpts } from '../../../src/images/schema/rpc.ts';
import { applyFields, BESIDES, CONVERSATION, IDLE, WORDS } from '../../../src/rpc/fields.ts';

const { slots } = layoutOf(criuOpts);
const names = slots.map(({ name }) => name);

/** What a request with these fields makes of the default settings: the settings that differ. */
function applied(opts: Partial<InputOf<typeof criuOpts>>, origin: 'parent' | 'service' = 'parent') {
  const draft: Draft = defaultSettings();
  const whole: CriuOpts = decodeMessage(criuOpts, encodeMessage(criuOpts, { images_dir_fd: -1, ...opts }));
  const { asked, error } = applyFields(draft, whole, origin);
  const plain: Readonly<Record<string, unknown>> = { ...defaultSettings() };
  const changed = Object.entries(draft).filter(([key, value]) => !Bun.deepEquals(plain[key], value));
  const given = asked.map(({ as }) => as).filter((as) => as !== 'log_level');
  return { changed: Object.fromEntries(changed), given, error: error?.message };
}

describe('the table', () => {
  test('every row names a field that there is, by its number', () => {
    for (const { rpc, long } of OPTIONS) {
      const slot = rpc && slots.find(({ name }) => name === rpc[1]);
      expect([long, rpc?.[0]]).toEqual([long, slot?.number]);
    }
  });

  test('every field is read', () => {
    const ofRows = OPTIONS.flatMap(({ rpc }) => (rpc ? [rpc[1]] : []));
    const read: readonly string[] = [...ofRows, ...CONVERSATION, ...BESIDES, ...Object.keys(IDLE), 'orphan_pts_master'];
    expect(names.filter((name) => !read.includes(name))).toEqual([]);
  });

  test('words of numbers are choices of the rows', () => {
    for (const [field, words] of Object.entries(WORDS)) {
      const value = OPTIONS.find(({ rpc }) => rpc?.[1] === field)?.value;
      const choices = value?.type === 'choice' ? Object.values(value.choices) : [];
      for (const word of Object.values(words)) expect(choices).toContain(word);
      const numbers = Object.keys(words).map(Number);
      expect(numbers.sort()).toEqual(Object.values(slots.find(({ name }) => name === field)?.values ?? {}).sort());
    }
  });
});

describe('values', () => {
  test('what is false, empty or the default asks for nothing', () => {
    const opts = { shell_job: false, leave_running: false, auto_dedup: false, root: '', external: [], empty_ns: 0 };
    expect(applied(opts)).toMatchObject({ changed: {}, error: undefined });
  });

  test('of each kind', () => {
    const opts = {
      pid: 12,
      leave_stopped: true,
      tcp_established: true,
      ext_unix_sk: true,
      unix_sk_ino: [{ inode: 3 }],
      log_level: 9,
      root: '/r',
      enable_fs: ['a,b', 'c'],
      skip_mnt: ['/x,y'],
      ghost_limit: 5,
      network_lock: 3,
      ext_mnt: [{ key: '/a:b', val: '' }],
      auto_ext_mnt: true,
      cg_root: [{ ctrl: 'cpu', path: '/c' }, { path: '/' }],
      veths: [{ if_in: 'a', if_out: 'b' }],
      inherit_fd: [{ key: 'pipe:[1]', fd: 1 }],
      join_ns: [{ ns: 'net', ns_file: '/n' }],
      empty_ns: 0x40000000,
      manage_cgroups: true,
      pre_dump_mode: CriuPreDumpMode.VM_READ,
      timeout: 0,
      cpu_cap: 5,
    };
    expect(applied(opts).changed).toEqual({
      tree: 12,
      finalState: 'stopped',
      tcpEstablished: true,
      extUnixSk: true,
      extUnixInodes: [3],
      verbosity: 9,
      root: '/r',
      enableFs: ['a', 'b', 'c'],
      skipMnt: ['/x,y'],
      ghostLimit: 5,
      networkLock: 'skip',
      extMountMap: [{ key: '/a:b', value: '' }],
      autoExtMounts: true,
      cgroupRoot: [
        { key: 'cpu', value: '/c' },
        { key: undefined, value: '/' },
      ],
      vethPair: [{ key: 'a', value: 'b' }],
      inheritFd: [{ fd: 1, key: 'pipe:[1]' }],
      joinNs: [{ ns: 'net', target: '/n', options: undefined }],
      emptyNetNs: true,
      preDumpMode: 'read',
      timeout: 0,
      cpuCap: { fpu: true, cpu: false, ins: true, image: true },
    });
  });

  test('the mode of cgroups wins over the older flag', () => {
    expect(applied({ manage_cgroups: false }).changed).toEqual({ manageCgroups: 'ignore' });
    const both = { manage_cgroups: false, manage_cgroups_mode: CriuCgMode.FULL };
    expect(applied(both).changed).toEqual({ manageCgroups: 'full' });
    expect(applied({ manage_cgroups_mode: CriuCgMode.DEFAULT }).changed).toEqual({});
  });

  test('a page server', () => {
    const ps = { address: '127.0.0.1', port: 7, fd: 4 };
    expect(applied({ ps }).changed).toEqual({ pageServer: true, address: '127.0.0.1', port: 7, psSocket: 4 });
    expect(applied({ ps, lazy_pages: true }).changed).not.toHaveProperty('pageServer');
  });

  test('the first that is wrong is named, the others are read', () => {
    const { error, changed } = applied({ pid: 0, empty_ns: 1, root: '/r' });
    expect(error).toMatch(/^criu_opts.pid: 0 is out of range/);
    expect(changed).toEqual({ root: '/r' });
  });

  test('what a client of the service must not name', () => {
    const refused = [{ inherit_fd: [{ key: 'a', fd: 1 }] }, { rst_sibling: true }, { ps: { fd: 3 } }];
    for (const opts of refused) {
      expect(applied(opts).error).toBeUndefined();
      expect(applied(opts, 'service').error).toMatch(/not for clients of the service/);
    }
  });
});
