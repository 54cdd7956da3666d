/**
 * httpd (Apache) with its event MPM, a root parent and workers without rights: a connection that is kept alive, a
 * download in the middle, and a POST whose body comes slowly to a CGI program. In the variant `apache2-half` the dump
 * cuts a request in half, whose thread waits in poll() and takes EINTR for an error; `apache2-late` has a connection on
 * which nothing has been said, which TCP_DEFER_ACCEPT keeps in SYN-RECV.
 */
import { createHash, randomBytes } from 'node:crypto';
import { same } from './dialogue.mjs';
import { download } from './download.mjs';
import { freePort } from './place.mjs';

const LARGE = 48 << 20;
const BODY = 300_000;
const MODULES = '/usr/lib/apache2/modules';
const GET = 'GET /index.html HTTP/1.1\r\nHost: x\r\n\r\n';
const HELLO = /^HTTP\/1.1 200 OK\r\n[\s\S]*?\r\n\r\nhello\n/;

function settings(place) {
  const load = (name) => `LoadModule ${name}_module ${MODULES}/mod_${name}.so`;
  return place.file(
    'httpd.conf',
    [
      ...['ServerName 127.0.0.1', `Listen 127.0.0.1:${place.port}`, `PidFile ${place.path('run/pid')}`],
      ...[`DefaultRuntimeDir ${place.path('run')}`, `Mutex file:${place.path('run')} default`],
      ...[
        `ErrorLog ${place.path('server.log')}`,
        ...['mpm_event', 'authz_core', 'reqtimeout', 'cgid', 'alias'].map(load),
      ],
      ...['User www-data', 'Group www-data', 'StartServers 2', 'KeepAliveTimeout 900'],
      ...['Timeout 900', 'RequestReadTimeout header=900 body=900', `DocumentRoot ${place.path('www')}`],
      ...[`ScriptSock ${place.path('run/cgid')}`, `ScriptAlias /cgi/ ${place.path('cgi/')}`, ''],
    ].join('\n'),
  );
}

async function start(place) {
  place.port = await freePort();
  place.large = randomBytes(LARGE);
  for (const name of ['run', 'www']) place.folder(name);
  place.file('www/index.html', 'hello\n');
  place.file('www/large', place.large);
  place.file('cgi/count', '#!/bin/sh\nprintf "Content-Type: text/plain\\r\\n\\r\\n"; wc -c\n', 0o755);
  place.start('/usr/sbin/apache2', ['-f', settings(place), '-DFOREGROUND']);
  await place.listens(place.port);
}

/** The clients of all variants: `half` cuts the second request of each cycle in two. */
async function meet(place, half) {
  const keeps = await place.dial('keep-alive', place.port);
  const cut = half ? 20 : 0;
  const wanted = createHash('sha256').update(place.large).digest('hex');
  let slow;
  let read;
  return {
    async before() {
      await keeps.ask(GET, HELLO);
      keeps.say(GET.slice(0, cut));
      slow = await place.dial('a slow POST', place.port);
      slow.say(`POST /cgi/count HTTP/1.1\r\nHost: x\r\nContent-Length: ${BODY}\r\n\r\n${'x'.repeat(BODY / 2)}`);
      const ask = 'GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';
      read = download(place, place.port, { ask, hasHead: true });
      await read(1 << 20);
      await new Promise((resolve) => setTimeout(resolve, 200));
    },
    async after() {
      await keeps.ask(GET.slice(cut), HELLO);
      slow.say('x'.repeat(BODY / 4));
      const { hash } = await read(LARGE);
      same('the checksum of the download', hash.digest('hex'), wanted);
      slow.say('x'.repeat(BODY / 4));
      const [, count] = await slow.hear(/^HTTP\/1.1 200 OK\r\n[\s\S]*?\r\n\r\n(?:[0-9a-f]+\r\n)?(\d+)\n/);
      same('the length of the POST', Number(count), BODY);
      slow.socket.destroy();
      const anew = await place.dial('a new connection', place.port);
      await anew.ask(GET, HELLO);
      anew.socket.destroy();
    },
    async end() {
      keeps.socket.destroy();
    },
  };
}

/**
 * As `meet`, with a connection that says nothing before the dump. The server has not accepted the connection: a dump
 * without --skip-in-flight refuses it by name, and with this option it is lost. The client learns of the loss when it
 * speaks; the others feel nothing.
 */
async function meetLate(place) {
  const others = await meet(place, false);
  let late;
  return {
    ...others,
    async before(cycle) {
      late = await place.dial('a connection nobody has accepted', place.port);
      await others.before(cycle);
      same('the connection is named', /1 connection waits to be accepted/.test(place.check()), true);
    },
    async after(cycle) {
      late.say(GET);
      same('the end of the connection', await late.ended(), 'read ECONNRESET');
      await others.after(cycle);
    },
  };
}

const shared = { packages: ['apache2'], start, complaints: /\[\w+:(warn|error|crit|alert|emerg)\]/ };

export default [
  { name: 'apache2', meet: (place) => meet(place, false), ...shared },
  { name: 'apache2-half', meet: (place) => meet(place, true), ...shared },
  { name: 'apache2-late', meet: meetLate, options: ['--skip-in-flight'], ...shared },
];
