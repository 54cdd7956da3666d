/** Page servers with TLS: what is sent arrives, and whoever is not trusted gets and harms nothing. */
import { afterAll, expect, test } from 'bun:test';
import { readdirSync, readFileSync } from 'node:fs';
import { type AddressInfo, createServer as createPlainServer } from 'node:net';
import { join } from 'node:path';
import { Authority } from './kit/certificates.ts';
import { merge, Server } from './kit/page-server.ts';
import { stasis } from './kit/stasis.ts';
import { Victim } from './kit/victim.ts';

const authority = new Authority();
const stranger = new Authority();
afterAll(() => {
  authority[Symbol.dispose]();
  stranger[Symbol.dispose]();
});
const server = authority.issue('a server', 'valid', 'IP:127.0.0.1');
const client = authority.issue('a client');

test.each<[name: string, args: string[]]>([
  ['memory', []],
  ['sturdy', ['64']],
])(
  '%s: a chain is sent and restored',
  async (name, args) => {
    using victim = await Victim.start(name, args);
    let before: string | undefined;
    let dir = '';
    for (const kind of ['pre-dump', 'dump']) {
      const previous = before === undefined ? [] : ['--prev-images-dir', `../${before.replace(/.*\//, '')}`];
      dir = join(victim.dir, `remote-${kind}`);
      const there = before === undefined ? [] : ['--prev-images-dir', '../remote-pre-dump'];
      using page = await Server.start(dir, [...authority.options(server), ...there]);
      const line = victim.dumpLine([...page.options, ...authority.options(client), ...previous]);
      line[0] = kind;
      const outcome = await stasis(line, { limitMs: 60_000 });
      expect(outcome).toMatchObject({ status: 0, stderr: '' });
      expect(await page.end()).toEqual({ status: 0, stderr: '' });
      before = victim.images;
    }
    expect(readFileSync(join(dir, 'page-server.log'), 'utf8')).toMatch(/speaks TLS, and is a client/);
    merge(victim.images, dir);
    victim.images = dir;
    await victim.waitGone();
    await victim.restore();
    await victim.verdict();
  },
  60_000,
);

const wrongNames = authority.issue('elsewhere.example');
const expired = authority.issue('old', 'expired');
const foreign = stranger.issue('a stranger');
const revoked = authority.issue('revoked');
const crl = authority.revoke(revoked.cert);

/** What a dump and a page server say that do not trust each other. */
const distrust: readonly [what: string, server: string[], client: string[], ofServer: RegExp, ofClient: RegExp][] = [
  [
    'a client of another authority',
    authority.options(server),
    [...stranger.options(foreign), '--tls-cacert', authority.cacert],
    /its certificate is of no authority that is trusted here/,
    /it has hung up after the handshake|no connection with TLS came about|the connection was lost|it has hung up/,
  ],
  [
    'a server of another authority',
    [...stranger.options(foreign), '--tls-cacert', authority.cacert],
    authority.options(client),
    /./,
    /its certificate is of no authority that is trusted here\nHint: give both sides certificates of one authority/,
  ],
  ['a client whose certificate has expired', authority.options(server), authority.options(expired), /has expired/, /./],
  ['a server whose certificate has expired', authority.options(expired), authority.options(client), /./, /has expired/],
  [
    'a client whose certificate was revoked',
    [...authority.options(server), '--tls-cacrl', crl],
    authority.options(revoked),
    /its certificate was revoked/,
    /./,
  ],
  [
    'a server with another name',
    authority.options(wrongNames),
    authority.options(client),
    /./,
    /is made out to elsewhere\.example, not to 127\.0\.0\.1\nHint: connect to the name it has, or give --tls-no-cn-verify/,
  ],
];

test.each(distrust)(
  '%s: both fail by name, and the program goes on',
  async (_, ofServer, ofClient, says, told) => {
    using victim = await Victim.start('memory');
    using page = await Server.start(join(victim.dir, 'remote'), ofServer);
    const outcome = await stasis(victim.dumpLine([...page.options, ...ofClient]), { limitMs: 60_000 });
    expect(outcome.status).toBe(1);
    expect(outcome.stderr).toMatch(told);
    const ended = await page.end();
    expect(ended.status).toBe(1);
    expect(ended.stderr).toMatch(says);
    expect(page.images).toEqual([]);
    expect(readdirSync(victim.images).filter((name) => !name.endsWith('.log'))).toEqual([]);
    await victim.verdict();
  },
  60_000,
);

test('a server with another name, which nobody is to mind', async () => {
  using victim = await Victim.start('memory');
  using page = await Server.start(join(victim.dir, 'remote'), authority.options(wrongNames));
  const more = [...authority.options(client), '--tls-no-cn-verify'];
  const outcome = await stasis(victim.dumpLine([...page.options, ...more, '-R']), { limitMs: 60_000 });
  expect(outcome).toMatchObject({ status: 0, stderr: '' });
  expect(await page.end()).toEqual({ status: 0, stderr: '' });
  await victim.verdict();
}, 60_000);

test('a file that is missing, one that is none: errors before anything is touched', async () => {
  using victim = await Victim.start('memory');
  using page = await Server.start(join(victim.dir, 'remote'), authority.options(server));
  const { cert, key } = client;
  const lines: [string[], RegExp][] = [
    [['--tls'], /\/etc\/pki\/CA\/cacert\.pem: cannot be read: .*\nHint: name the file with --tls-cacert/],
    [
      authority.options({ cert: '/none.pem', key }),
      /\/none\.pem: cannot be read: .*\nHint: name the file with --tls-cert/,
    ],
    [authority.options({ cert, key: authority.cacert }), /do not make sense together/],
  ];
  for (const [options, message] of lines.slice(0, 1)) {
    const outcome = await stasis(victim.dumpLine([...page.options, ...options]), { limitMs: 60_000 });
    expect(outcome.stderr).toMatch(message);
    expect(outcome.status).toBe(1);
  }
  await page.end();
  for (const [options, message] of lines.slice(1)) {
    using another = await Server.start(join(victim.dir, `remote-${options.length}`), authority.options(server));
    const outcome = await stasis(victim.dumpLine([...another.options, ...options]), { limitMs: 60_000 });
    expect(outcome.stderr).toMatch(message);
    expect((await another.end()).status).toBe(1);
  }
  await victim.verdict();
}, 60_000);

test('TLS with somebody who does not speak it is an error, and so is the other way round', async () => {
  using victim = await Victim.start('memory');
  const mute = createPlainServer((socket) => void socket.on('error', () => {}).end('hello\n'));
  await new Promise<void>((resolve) => void mute.listen(0, '127.0.0.1', () => resolve()));
  const { port } = mute.address() as AddressInfo;
  const place = ['--page-server', '--address', '127.0.0.1', '--port', `${port}`];
  const outcome = await stasis(victim.dumpLine([...place, ...authority.options(client)]), { limitMs: 60_000 });
  mute.close();
  expect(outcome.stderr).toMatch(/no connection with TLS came about/);
  using page = await Server.start(join(victim.dir, 'remote'), authority.options(server));
  const plain = await stasis(victim.dumpLine(page.options), { limitMs: 60_000 });
  expect(plain.status).toBe(1);
  expect((await page.end()).stderr).toMatch(/no connection with TLS came about/);
  await victim.verdict();
}, 60_000);
