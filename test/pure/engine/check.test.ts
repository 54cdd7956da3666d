/** The table of kernel features, and what follows from what was found. */
import { describe, expect, test } from 'bun:test';
import { StasisError } from '../../../src/base/errors.ts';
import { listOf } from '../../../src/cli/check.ts';
import { examine, examineAll, verdictOn } from '../../../src/engine/check/examine.ts';
import type { Category, Feature, Finding, Probe } from '../../../src/engine/check/feature.ts';
import { allFeatures, featureByName, featureNames } from '../../../src/engine/check/features.ts';
import { attribute, attributeTypes, be32, message, text, u32 } from '../../../src/engine/check/netlink.ts';

/** The names CRIU 4.2 knows. */
const NAMES = [
  ...['mnt_id', 'mem_dirty_track', 'aio_remap', 'timerfd', 'tun', 'tun_ns', 'userns', 'fdinfo_lock'],
  ...['seccomp_suspend', 'seccomp_filters', 'loginuid', 'cgroupns', 'autofs', 'tcp_half_closed', 'compat_cr', 'uffd'],
  ...['uffd-noncoop', 'can_map_vdso', 'sk_ns', 'sk_unix_file', 'net_diag_raw', 'nsid', 'link_nsid', 'kcmp_epoll'],
  ...['timens', 'external_net_ns', 'clone3_set_tid', 'newifindex', 'nftables', 'has_ipt_legacy', 'pidfd_store'],
  ...['ns_pid', 'apparmor_stacking', 'network_lock_nftables', 'sockopt_buf_lock', 'memfd_hugetlb'],
  ...['move_mount_set_group', 'openat2', 'get_rseq_conf', 'ipv6_freebind', 'pagemap_scan', 'timer_cr_ids'],
  ...['overlayfs_maps', 'breakpoints', 'pagemap_scan_guard_pages'],
];

function feature(category: Category, probe: Probe = () => undefined): Feature {
  return { name: category, category, probe, neededFor: 'tests', remedy: 'none' };
}

function finding(category: Category, missing?: string): Finding {
  return { feature: feature(category), missing };
}

describe('the table', () => {
  test('has the names CRIU knows, and no others by name', () => {
    expect(NAMES).toHaveLength(45);
    expect(featureNames().sort()).toEqual(NAMES.toSorted());
  });

  test('no name stands there twice', () => {
    const names = allFeatures().map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
  });

  test('says what each is for and what brings it, in a line', () => {
    for (const { neededFor, remedy } of allFeatures()) {
      expect(`  needed for ${neededFor}`.length).toBeLessThanOrEqual(80);
      expect(`  comes with: ${remedy}`.length).toBeLessThanOrEqual(80);
      expect(neededFor).not.toMatch(/\.$/);
    }
  });

  test('required features are not asked for by name', () => {
    expect(featureByName('map_files')).toBeUndefined();
    expect(featureByName('timens')?.category).toBe('extra');
    expect(featureByName('list')).toBeUndefined();
    expect(featureByName('__proto__')).toBeUndefined();
  });
});

describe('the verdict', () => {
  const none = { extra: false, experimental: false };
  const cases: [findings: Finding[], demand: typeof none, verdict: string][] = [
    [[], none, 'good'],
    [[finding('required')], none, 'good'],
    [[finding('required', 'no')], none, 'bad'],
    [[finding('required', 'no'), finding('extra', 'no')], { extra: true, experimental: true }, 'bad'],
    [[finding('extra', 'no')], none, 'good'],
    [[finding('extra', 'no')], { extra: true, experimental: false }, 'partial'],
    [[finding('extra', 'no')], { extra: false, experimental: true }, 'good'],
    [[finding('experimental', 'no')], { extra: true, experimental: false }, 'good'],
    [[finding('experimental', 'no')], { extra: false, experimental: true }, 'partial'],
    [[finding('named', 'no')], { extra: true, experimental: true }, 'good'],
  ];
  test.each(cases)('%j %j: %s', (findings, demand, verdict) => {
    expect(verdictOn(findings, demand) as string).toBe(verdict);
  });
});

describe('examining', () => {
  test('a probe that throws is an answer', () => {
    const typed = feature('extra', () => {
      throw new StasisError({ kind: 'kernel', resource: 'x', reason: 'refused' });
    });
    const wild = feature('extra', () => {
      throw new TypeError('oops');
    });
    expect(examine(typed).missing).toBe('x: refused');
    expect(examine(wild).missing).toBe('unexpected: oops');
    expect(examine(feature('extra')).missing).toBeUndefined();
  });

  test('what has no meaning here is not missing', () => {
    const foreign = { ...feature('extra', () => 'no'), applies: () => false };
    const ours = { ...feature('extra', () => 'no'), applies: () => true };
    expect(examineAll([foreign, ours]).map((found) => found.feature)).toEqual([ours]);
  });
});

test('the list of names stays within 80 columns and loses none', () => {
  const lines = listOf(NAMES).trimEnd().split('\n');
  for (const line of lines) expect(line.length).toBeLessThanOrEqual(80);
  expect(lines.join(' ').split(', ')).toEqual(NAMES);
});

describe('netlink', () => {
  test('attributes are padded, their length is not', () => {
    expect([...attribute(3, text('lo'))]).toEqual([7, 0, 3, 0, 0x6c, 0x6f, 0, 0]);
    expect([...attribute(1, attribute(2, u32(5)))]).toEqual([12, 0, 1, 0, 8, 0, 2, 0, 5, 0, 0, 0]);
    expect([...be32(0x01020304)]).toEqual([1, 2, 3, 4]);
  });

  test('a message has its header', () => {
    const bytes = message(20, 0x300, Uint8Array.of(1, 2));
    expect([...bytes]).toEqual([18, 0, 0, 0, 20, 0, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0]);
  });

  test('types of attributes are found, also in damaged messages', () => {
    const body = Buffer.concat([new Uint8Array(16), attribute(3, text('veth0')), attribute(0x8025, u32(1))]);
    expect(attributeTypes(body, 16)).toEqual([3, 0x25]);
    expect(attributeTypes(body.subarray(0, 17), 16)).toEqual([]);
    expect(attributeTypes(new Uint8Array(32), 16)).toEqual([]);
  });
});
