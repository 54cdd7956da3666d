/** Labels of security modules, as /proc/PID/attr/current prints them. */
import { expect, test } from 'bun:test';
import { parseLabel, type SecurityLabel } from '../../../../src/kernel/proc/label.ts';

const label = (module: SecurityLabel['module'], text: string, unconfined = false) => ({ module, text, unconfined });

test.each([
  ['unconfined\n', label('apparmor', 'unconfined', true)],
  ['docker-default (enforce)\n', label('apparmor', 'docker-default')],
  ['/usr/bin/man//&unconfined (mixed)\n', label('apparmor', '/usr/bin/man//&unconfined')],
  ['a profile (of mine) (complain)\n', label('apparmor', 'a profile (of mine)')],
  [':ns://lxc (unconfined)\n', label('apparmor', ':ns://lxc')],
  [
    'unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023\0',
    label('selinux', 'unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023', true),
  ],
  ['system_u:system_r:container_t:s0:c1,c2\0', label('selinux', 'system_u:system_r:container_t:s0:c1,c2')],
  ['kernel\0', label('other', 'kernel')],
  ['_', label('other', '_')],
  ['\n', undefined],
  ['', undefined],
] as [string, SecurityLabel | undefined][])('%j', (text, expected) => {
  expect(parseLabel(new Uint8Array(Buffer.from(text)))).toEqual(expected);
});
