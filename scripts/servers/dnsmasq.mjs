/** dnsmasq: asked by UDP from one socket, and by TCP on one connection, where a question is cut in half by the dump. */
import { createSocket } from 'node:dgram';
import { setTimeout } from 'node:timers/promises';
import { same } from './dialogue.mjs';
import { freePort } from './place.mjs';

/** The question for the address of a name. */
function question(id, name) {
  const head = Buffer.from([id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
  const labels = name.split('.').map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]));
  return Buffer.concat([head, ...labels, Buffer.from([0, 0, 1, 0, 1])]);
}

/** The address at the end of an answer, if it is the answer to that question. */
function address(id, answer) {
  same('the number of the answer', answer.readUInt16BE(0), id);
  return [...answer.subarray(-4)].join('.');
}

function askByUdp(socket, id, name) {
  const answer = new Promise((resolve) => socket.once('message', (text) => resolve(address(id, text))));
  const late = setTimeout(30_000, undefined, { ref: false }).then(() => Promise.reject(new Error('no answer by UDP')));
  late.catch(() => undefined);
  socket.send(question(id, name));
  return Promise.race([answer, late]);
}

export default [
  {
    name: 'dnsmasq',
    packages: ['dnsmasq-base'],
    async start(place) {
      place.port = await freePort();
      const hosts = place.file('hosts', '192.0.2.10 before.test\n');
      const resolv = place.file('resolv.conf', 'nameserver 127.0.0.1\n');
      place.start('dnsmasq', [
        ...[
          '--keep-in-foreground',
          `--port=${place.port}`,
          '--listen-address=127.0.0.1',
          '--bind-interfaces',
          '--no-hosts',
        ],
        ...[
          `--addn-hosts=${hosts}`,
          `--resolv-file=${resolv}`,
          '--conf-file=/dev/null',
          '--user=nobody',
          '--log-queries',
        ],
        ...[`--pid-file=${place.path('pid')}`, '--cache-size=1000'],
      ]);
      await place.listens(place.port);
      place.file('hosts', '192.0.2.10 before.test\n192.0.2.11 learned.test\n');
      process.kill(place.root, 'SIGHUP');
    },
    async meet(place) {
      const udp = createSocket('udp4');
      await new Promise((resolve) => udp.connect(place.port, '127.0.0.1', resolve));
      place.atEnd(() => udp.close());
      let id = 1;
      const byTcp = async (tcp, begin) => {
        const [, size] = await tcp.hear(/^([\s\S]{2})/);
        const [answer] = await tcp.hear(new RegExp(`^[\\s\\S]{${Buffer.from(size, 'latin1').readUInt16BE(0)}}`));
        return address(begin, Buffer.from(answer, 'latin1'));
      };
      const framed = (number, name) => {
        const asked = question(number, name);
        return `${String.fromCharCode(0, asked.length)}${asked.toString('latin1')}`;
      };
      // A process of the server answers all questions of a connection. It knows what the server knows when it is made.
      while ((await askByUdp(udp, ++id, 'learned.test')) !== '192.0.2.11') await setTimeout(20);
      const tcp = await place.dial('TCP', place.port);
      let cut;
      return {
        async before() {
          same('by UDP', await askByUdp(udp, ++id, 'before.test'), '192.0.2.10');
          tcp.say(framed(++id, 'before.test'));
          same('by TCP', await byTcp(tcp, id), '192.0.2.10');
          cut = framed(++id, 'learned.test');
          tcp.say(cut.slice(0, 12));
          await setTimeout(50);
        },
        async after() {
          tcp.say(cut.slice(12));
          same('by TCP, a question cut in half', await byTcp(tcp, id), '192.0.2.11');
          same('by UDP', await askByUdp(udp, ++id, 'learned.test'), '192.0.2.11');
          const anew = await place.dial('a new connection', place.port);
          anew.say(framed(++id, 'learned.test'));
          same('by a new connection', await byTcp(anew, id), '192.0.2.11');
          anew.socket.destroy();
        },
        async end() {
          tcp.socket.destroy();
        },
      };
    },
    ident: 'dnsmasq',
    complaints: /error|fail|cannot|warning/i,
  },
];
