/**
 * OpenSSH, with PAM and privilege separation as Debian has them: a session of root and one of a user who has no rights,
 * each in the middle of a line that is typed; a file on its way to the host; a port that is forwarded; and a login that
 * has just begun, the process of which is in sshd's sandbox, behind a seccomp filter.
 */
import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, rmdirSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { same } from './dialogue.mjs';
import { freePort } from './place.mjs';

const USER = 'stasis-proof';
const SEPARATION = '/run/sshd';

/** Listens on a port of its own, and hands each connection over. Returns the port. */
async function listen(place, take) {
  const server = createServer((socket) => {
    place.atEnd(() => socket.destroy());
    socket.on('error', () => socket.destroy());
    take(socket);
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  place.atEnd(() => server.close());
  return server.address().port;
}

/**
 * A way to sshd that keeps back what a client says after its version and a piece of the first message, until `letGo` is
 * called. `begun` is a promise for the moment when sshd has said something on the next connection.
 */
async function slowWay(place, to) {
  const way = { isOpen: true, begun: undefined, letGo() {} };
  let begin;
  way.expect = () => {
    way.isOpen = false;
    way.begun = new Promise((resolve) => {
      begin = resolve;
    });
  };
  way.port = await listen(place, (near) => {
    const far = connect(to, '127.0.0.1');
    let passed = 0;
    far.on('data', (data) => {
      near.write(data);
      begin();
    });
    far.on('error', () => near.destroy());
    far.on('close', () => near.destroy());
    near.on('close', () => far.destroy());
    const held = [];
    near.on('data', (data) => {
      const now = way.isOpen ? data.length : Math.min(data.length, Math.max(0, 100 - passed));
      passed += now;
      if (now > 0) far.write(data.subarray(0, now));
      if (now < data.length) held.push(data.subarray(now));
    });
    way.letGo = () => {
      way.isOpen = true;
      far.write(Buffer.concat(held));
    };
  });
  return way;
}

/** Makes the user, the keys and the settings of sshd. */
function prepare(place) {
  if (spawnSync('id', [USER]).status !== 0) {
    place.must('useradd', '--no-create-home', '--home-dir', place.dir, '--shell', '/bin/sh', USER);
    place.atEnd(() => spawnSync('userdel', [USER]));
  }
  if (!existsSync(SEPARATION)) {
    mkdirSync(SEPARATION, { mode: 0o755 });
    place.atEnd(() => rmdirSync(SEPARATION));
  }
  for (const key of ['host', 'key']) place.must('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', place.path(key));
  const settings = [
    ...[`Port ${place.port}`, 'ListenAddress 127.0.0.1', `HostKey ${place.path('host')}`, 'UsePAM yes'],
    ...[`AuthorizedKeysFile ${place.path('key.pub')}`, 'StrictModes no', 'PermitRootLogin prohibit-password'],
    ...[`PidFile ${place.path('pid')}`, 'PrintMotd no', 'KbdInteractiveAuthentication no', 'LoginGraceTime 600', ''],
  ];
  return place.file('sshd_config', settings.join('\n'));
}

/** The arguments of ssh(1) for a user. */
function toHost(place, user, port = place.port) {
  const options = [
    'StrictHostKeyChecking=no',
    `UserKnownHostsFile=${place.path('known')}`,
    'BatchMode=yes',
    'LogLevel=ERROR',
  ];
  const given = [
    '-F',
    'none',
    '-i',
    place.path('key'),
    '-p',
    `${port}`,
    ...options.flatMap((option) => ['-o', option]),
  ];
  return [...given, `${user}@127.0.0.1`];
}

/** A session with a terminal, the lines of which are typed in two halves. */
async function terminal(place, user) {
  const shell = place.client(`the session of ${user}`, 'ssh', ['-tt', ...toHost(place, user)]);
  await shell.ask('PS1=; count=0; echo pid-$$-\n', /pid-\d+-\r\n/);
  return {
    async before(cycle) {
      await shell.ask(`count=$((count + 1)); echo begun-$((${cycle} * 2))-\n`, new RegExp(`begun-${cycle * 2}-\r\n`));
      shell.say(`echo whole-$((${cycle} `);
      await new Promise((resolve) => setTimeout(resolve, 50));
    },
    async after(cycle) {
      await shell.ask('* 3))-$count-\n', new RegExp(`whole-${cycle * 3}-${cycle}-\r\n`));
    },
    async end() {
      shell.say('exit 7\n');
      same('the end of the session', await shell.ended(), 'it ended with 7');
    },
  };
}

/** A file that is sent to the host, half of it before the dump. */
function transfer(place) {
  let sent;
  let content;
  return {
    async before() {
      content = randomBytes(4 << 20);
      sent = place.client('a file', 'ssh', [...toHost(place, USER), 'echo READY; sha256sum']);
      await sent.hear(/READY\n/);
      await new Promise((resolve) => sent.child.stdin.write(content.subarray(0, content.length / 2), resolve));
    },
    async after() {
      sent.child.stdin.end(content.subarray(content.length / 2));
      const [, sum] = await sent.hear(/^([0-9a-f]{64}) /);
      same('the checksum of a file', sum, createHash('sha256').update(content).digest('hex'));
      same('the end of the transfer', await sent.ended(), 'it ended with 0');
    },
    async end() {},
  };
}

/** A port of the host that the client forwards, with one connection through it. */
async function forwarding(place) {
  const echo = await listen(place, (socket) => socket.pipe(socket));
  const local = await freePort();
  const args = ['-N', '-L', `127.0.0.1:${local}:127.0.0.1:${echo}`, '-o', 'ExitOnForwardFailure=yes'];
  const ssh = place.client('forwarding', 'ssh', [...args, ...toHost(place, USER)]);
  await place.listens(local);
  const through = await place.dial('the forwarded port', local);
  return {
    async before(cycle) {
      await through.ask(`before-${cycle}\n`, new RegExp(`^before-${cycle}\n`));
    },
    async after(cycle) {
      await through.ask(`after-${cycle}\n`, new RegExp(`^after-${cycle}\n`));
      ssh.stillThere();
    },
    async end() {
      through.socket.destroy();
      ssh.child.kill();
    },
  };
}

/** A login that has begun when sshd is dumped. */
async function login(place) {
  const way = await slowWay(place, place.port);
  let begun;
  return {
    async before(cycle) {
      way.expect();
      begun = place.client('a login', 'ssh', [...toHost(place, 'root', way.port), `echo in-$((${cycle} * 5))-`]);
      await way.begun;
      await new Promise((resolve) => setTimeout(resolve, 100));
    },
    async after(cycle) {
      way.letGo();
      await begun.hear(new RegExp(`^in-${cycle * 5}-\n`));
      same('the end of the login', await begun.ended(), 'it ended with 0');
    },
    async end() {},
  };
}

export default [
  {
    name: 'ssh',
    packages: ['openssh-server', 'openssh-client'],
    async start(place) {
      place.port = await freePort();
      place.start('/usr/sbin/sshd', ['-D', '-f', prepare(place)]);
      await place.listens(place.port);
    },
    async meet(place) {
      const parts = [await terminal(place, 'root'), await terminal(place, USER), await forwarding(place)];
      parts.push(transfer(place), await login(place));
      const all = (what) => async (cycle) => {
        for (const part of parts) await part[what](cycle);
      };
      return { before: all('before'), after: all('after'), end: all('end') };
    },
    ident: 'sshd',
    complaints: /error|fatal|corrupt|bad packet|mismatch|timeout|fail/i,
    // On a machine without utmp, or without systemd.
    harmless: /logout\(\) returned an error|pam_systemd/,
  },
];
