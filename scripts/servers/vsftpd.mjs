/**
 * vsftpd: a session that is idle, and one in the middle of a download, whose data go over a connection of their own.
 * Its isolation is off: a container has not the right to make namespaces (`npm run demo:ftp -- --isolated` has it on).
 */
import { createHash, randomBytes } from 'node:crypto';
import { same } from './dialogue.mjs';
import { download } from './download.mjs';
import { freePort } from './place.mjs';

const LARGE = 48 << 20;

function settings(place) {
  return place.file(
    'vsftpd.conf',
    [
      ...['listen=YES', 'listen_address=127.0.0.1', `listen_port=${place.port}`, 'background=NO'],
      ...['anonymous_enable=YES', 'local_enable=NO', 'connect_from_port_20=NO', 'seccomp_sandbox=NO'],
      ...[`anon_root=${place.path('files')}`, `secure_chroot_dir=${place.path('empty')}`],
      ...['isolate=NO', 'isolate_network=NO', 'idle_session_timeout=900', 'data_connection_timeout=900', ''],
    ].join('\n'),
  );
}

/** Logs in. */
async function session(place, name) {
  const control = await place.dial(name, place.port);
  await control.hear(/^220 .*\r\n/);
  await control.ask('USER anonymous\r\n', /^331 .*\r\n/);
  await control.ask('PASS x\r\n', /^230 .*\r\n/);
  await control.ask('TYPE I\r\n', /^200 .*\r\n/);
  return control;
}

/** Asks for a file; returns what reads it. */
async function retrieve(place, control, name) {
  const [, high, low] = await control.ask('PASV\r\n', /^227 .*,(\d+),(\d+)\)\.\r\n/);
  const read = download(place, 256 * Number(high) + Number(low));
  await control.ask(`RETR ${name}\r\n`, /^150 .*\r\n/);
  return read;
}

export default [
  {
    name: 'vsftpd',
    packages: ['vsftpd'],
    async start(place) {
      place.port = await freePort();
      place.large = randomBytes(LARGE);
      for (const name of ['files', 'empty']) place.folder(name);
      place.file('files/large', place.large);
      place.file('files/small', 'hello\n');
      place.start('vsftpd', [settings(place)]);
      await place.listens(place.port);
    },
    async meet(place) {
      const [idle, busy] = [await session(place, 'an idle session'), await session(place, 'a busy session')];
      const wanted = createHash('sha256').update(place.large).digest('hex');
      let read;
      return {
        async before() {
          read = await retrieve(place, busy, 'large');
          await read(1 << 20);
        },
        async after() {
          await idle.ask('PWD\r\n', /^257 .*\r\n/);
          const { hash } = await read(LARGE);
          same('the checksum of the download', hash.digest('hex'), wanted);
          await busy.hear(/^226 .*\r\n/);
          const anew = await session(place, 'a new session');
          const { read: bytes } = await (await retrieve(place, anew, 'small'))(6);
          same('the size of the small file', bytes, 6);
          await anew.ask('QUIT\r\n', /221 .*\r\n/);
        },
        async end() {
          for (const one of [idle, busy]) await one.ask('QUIT\r\n', /^221 .*\r\n/);
        },
      };
    },
    complaints: /^5\d\d|fail|error/i,
  },
];
