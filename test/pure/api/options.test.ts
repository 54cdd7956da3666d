import { describe, expect, test } from 'bun:test';
import { OPTIONS } from '../../../src/api/options.ts';
import { defaultSettings } from '../../../src/api/settings.ts';
import { STASIS_VERSION, versionText } from '../../../src/api/version.ts';

/** CRIU 4.2's long options; those with ± also as `--no-…`, `=` takes an argument, `?` an optional one. */
const CRIU = `action-script= address= all allow-uprobes± auto-dedup± cgroup-dump-controller= cgroup-props=
  cgroup-props-file= cgroup-root= cgroup-yard= close= config= cpu-cap? daemon± deprecated± display-stats± empty-ns=
  enable-external-masters enable-external-sharing enable-fs= evasive-devices± exec-cmd experimental± ext-mount-map=
  ext-unix-sk? external= extra± feature= file-locks± file-validation= force-irmap± freeze-cgroup= ghost-fiemap±
  ghost-limit= help images-dir= inherit-fd= irmap-scan-path= join-ns= lazy-pages leave-running leave-stopped libdir=
  link-remap± log-file= log-pid± lsm-mount-context= lsm-profile= manage-cgroups? mntns-compat-mode± ms network-lock=
  no-default-config page-server± pidfile= port= pre-dump-mode= prev-images-dir= ps-socket= restore-detached±
  restore-sibling± root= shell-job± skip-file-rwx-check± skip-in-flight± skip-mnt= status-fd= stream± tcp-close±
  tcp-established± timeout= tls± tls-cacert= tls-cacrl= tls-cert= tls-key= tls-no-cn-verify track-mem± tree=
  unprivileged± verbosity? version veth-pair= weak-sysctls± work-dir=`;

describe('the option table', () => {
  test('has all of CRIU’s options and their forms', () => {
    const ours = OPTIONS.filter((o) => !o.own).map(
      (o) => o.long + (o.negatable ? '±' : '') + (o.argOptional ? '?' : o.arg === undefined ? '' : '='),
    );
    expect(ours.sort()).toEqual(CRIU.split(/\s+/).sort());
  });
  test('has CRIU’s short options, and ours', () => {
    const shorts = OPTIONS.flatMap((o) => o.short ?? []);
    expect(shorts.sort().join('')).toBe([...'dSsRthDovxVrJjlWLMp'].sort().join(''));
  });
  test('names are unique', () => {
    const names = OPTIONS.flatMap((o) => [o.long, ...(o.negatable ? [`no-${o.long}`] : [])]);
    expect(new Set(names).size).toBe(names.length);
  });
  test('RPC fields are unique, but for the page server’s sub-message', () => {
    const fields = OPTIONS.flatMap((o) => (o.rpc && o.rpc[1] !== 'ps' ? [o.rpc] : []));
    expect(new Set(fields.map(([number]) => number)).size).toBe(fields.length);
    expect(new Set(fields.map(([, name]) => name)).size).toBe(fields.length);
  });
  test('only flags can be negated, and optional arguments are arguments', () => {
    for (const option of OPTIONS) {
      if (option.negatable) expect(option.value.type).toBe('flag');
      if (option.argOptional) expect(option.arg).toBeDefined();
    }
  });
  test('no option has two answers for one command', () => {
    for (const { long, built, later = [], idle } of OPTIONS) {
      const commands = [...built, ...later, ...(idle?.in ?? [])];
      expect({ long, twice: commands.filter((command, at) => commands.indexOf(command) !== at) }).toEqual({
        long,
        twice: [],
      });
    }
  });
  test('every key is a setting', () => {
    const settings = defaultSettings();
    for (const { value } of OPTIONS) if ('key' in value) expect(Object.keys(settings)).toContain(value.key);
  });
});

describe('version', () => {
  test('begins with the line LXC and go-criu read when it is asked as criu, and has no GitID', () => {
    expect(versionText('criu')).toMatch(/^Version: 4\.2\nStasis: \d+\.\d+\.\d+\n$/);
  });
  test('begins with our own when it is asked as stasis', () => {
    expect(versionText('stasis')).toMatch(/^Stasis \d+\.\d+\.\d+, .*\nVersion: 4\.2\n$/);
  });
  test('is that of package.json', async () => {
    const text = await Bun.file(new URL('../../../package.json', import.meta.url)).text();
    expect(JSON.parse(text)).toMatchObject({ version: STASIS_VERSION });
  });
});
