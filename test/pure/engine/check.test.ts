/** The table of kernel features, and what follows from what was found. */
import { describe, expect, test } from 'bun:test';
import { StasisError } from '../../../src/base/errors.ts';
import { listOf } from '../../../src/cli/check.ts';
import { examine, examineAll, verdictOn } from '../../../src/engine/check/examine.ts';
import type { Category, Feature, Finding, Probe } from '../../../src/engine/check/feature.ts';
import { allFeatures, featureByName, featureNames } from '../../../src/engine/check/features.ts';

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
