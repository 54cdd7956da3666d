import { expect, test } from 'bun:test';
import { carryOptions, dumpOptions } from '../../../src/api/engine-options.ts';
import { defaultSettings } from '../../../src/api/settings.ts';

const places = { imagesDir: '/i', workDir: '/w' };

test('a dump needs a process, and says so', () => {
  expect(dumpOptions({ ...defaultSettings(), tree: 17 }, places)).toMatchObject({ pid: 17, ...places });
  expect(() => dumpOptions(defaultSettings(), places)).toThrow('no process was named');
});

test('a security label is of a known module, and may have colons', () => {
  const label = (lsmProfile: string) => carryOptions({ ...defaultSettings(), lsmProfile }).securityLabel;
  expect(label('apparmor:a//b')).toEqual({ module: 'apparmor', text: 'a//b' });
  expect(label('selinux:u:r:t_t:s0')).toEqual({ module: 'selinux', text: 'u:r:t_t:s0' });
  expect(label('none:')).toEqual({ module: 'none' });
  for (const bad of ['', 'apparmor', 'apparmor:', 'none:x', 'smack:x', ':x']) {
    expect(() => label(bad)).toThrow('is no security label');
  }
});
