/** What the processor can do: written, and compared with an image that asks for more. */
import { afterAll, expect, test } from 'bun:test';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeImage } from '../../src/images/image.ts';
import { ImageSet } from '../../src/images/image-set.ts';
import { Images } from '../../src/images/kinds.ts';
import type { CpuinfoX86Entry } from '../../src/images/schema/cpuinfo.ts';
import { CriuReqType } from '../../src/images/schema/rpc.ts';
import { disk } from '../../src/kernel/disk.ts';
import { RpcClient } from './kit/rpc-client.ts';
import { stasis, stasisOk } from './kit/stasis.ts';

const home = mkdtempSync(join(tmpdir(), 'stasis-cpuinfo-'));
afterAll(() => rmSync(home, { recursive: true }));

/** A folder with what this processor can do, as a dump writes it. */
async function folder(name: string): Promise<string> {
  const path = join(home, name);
  mkdirSync(path);
  await stasisOk(['cpuinfo', 'dump', '-D', path]);
  return path;
}

function saved(path: string): CpuinfoX86Entry {
  const [entry] = new ImageSet(path, undefined, disk).readOne(Images.cpuinfo).x86_entry;
  if (!entry) throw new Error('no entry');
  return entry;
}

/** Writes the image anew, of another processor. */
function change(path: string, of: (entry: CpuinfoX86Entry) => Partial<CpuinfoX86Entry>): void {
  const entry = saved(path);
  const message = { x86_entry: [{ ...entry, ...of(entry) }], ppc64_entry: [], s390_entry: [] };
  writeFileSync(join(path, 'cpuinfo.img'), encodeImage(Images.cpuinfo, [{ message }]));
}

const check = (path: string, ...options: string[]) => stasis(['cpuinfo', 'check', '-D', path, ...options]);

test('the processor is as good as itself', async () => {
  const path = await folder('same');
  const { capability, capability_ver, xsave_size = 0 } = saved(path);
  expect(capability_ver).toBe(2);
  expect(capability.length).toBe(19);
  expect(xsave_size).toBeGreaterThanOrEqual(576);
  for (const cap of [[], ['--cpu-cap'], ['--cpu-cap=none'], ['--cpu-cap=cpu']]) {
    expect((await check(path, ...cap)).status).toBe(0);
  }
});

test('instructions that are lacking are named; what is not asked for is not compared', async () => {
  const path = await folder('instructions');
  // 3DNow! and what only some of Intel's had; no processor has both.
  change(path, ({ capability }) => {
    const words = [...capability];
    words[1] = ((words[1] ?? 0) | (1 << 31)) >>> 0;
    words[18] = ((words[18] ?? 0) | 4) >>> 0;
    return { capability: words };
  });
  const { status, stderr } = await check(path);
  expect(status).toBe(1);
  expect(stderr).toMatch(/^Error: this processor lacks (3dnow|avx512_4vnniw)/);
  expect((await check(path, '--cpu-cap=cpu,^ins')).stderr).toContain('capabilities that are all the same');
  expect((await check(path, '--cpu-cap=^ins')).status).toBe(0);
});

test('the extended state', async () => {
  const path = await folder('state');
  change(path, ({ xsave_size = 0 }) => ({ xfeatures_mask: 1n << 62n, xsave_size: xsave_size + 64 }));
  const { status, stderr } = await check(path);
  expect(status).toBe(1);
  expect(stderr).toContain('components of the extended state (0x4000000000000000), an extended state of');
});

test('an image that is missing, or damaged', async () => {
  const path = join(home, 'damaged');
  expect((await stasis(['cpuinfo', 'check', '-D', home])).stderr).toContain('cpuinfo.img');
  await folder('damaged');
  change(path, ({ capability }) => ({ capability: capability.slice(1) }));
  expect((await check(path)).stderr).toContain('18 words of capabilities, not 19');
  change(path, () => ({ capability_ver: 9 }));
  expect((await check(path)).stderr).toContain('version 9');
});

test('over RPC, one request after the other', async () => {
  const path = await folder('rpc');
  const { CPUINFO_DUMP, CPUINFO_CHECK } = CriuReqType;
  const opts = { images_dir_fd: -1, images_dir: path };
  using client = RpcClient.swrk();
  const request = { keep_open: true, opts };
  expect(client.ask({ ...request, type: CPUINFO_DUMP })).toEqual({ type: CPUINFO_DUMP, success: true });
  expect(client.ask({ ...request, type: CPUINFO_CHECK })).toEqual({ type: CPUINFO_CHECK, success: true });
  change(path, () => ({ xfeatures_mask: 1n << 62n }));
  const answer = client.ask({ type: CPUINFO_CHECK, opts: { ...opts, cpu_cap: 1 } });
  expect(answer.success).toBe(false);
  expect(answer.cr_errmsg ?? '').toContain('components of the extended state');
  expect(await client.end()).toBe(1);
});
