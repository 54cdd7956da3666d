/** Redis: a client in BLPOP, a subscriber, and a transaction that has begun; the data are saved by forks. */
import { same } from './dialogue.mjs';
import { freePort } from './place.mjs';

export default [
  {
    name: 'redis',
    packages: ['redis-server', 'redis-tools'],
    async start(place) {
      place.port = await freePort();
      const settings = ['--port', `${place.port}`, '--bind', '127.0.0.1', '--dir', place.folder('data', 'redis')];
      const files = ['--appendonly', 'yes', '--save', '60 1', '--unixsocket', place.path('data', 'socket')];
      place.start(...place.as('redis', 'redis-server', ...settings, ...files));
      await place.listens(place.port);
    },
    async meet(place) {
      const port = ['-p', `${place.port}`];
      const [waits, transaction, asks] = ['BLPOP', 'MULTI', 'client'].map((name) =>
        place.client(name, 'redis-cli', port),
      );
      const subscriber = place.client('subscriber', 'redis-cli', [...port, 'SUBSCRIBE', 'news']);
      await subscriber.hear(/subscribe\nnews\n1\n/);
      const id = await asks.ask('CLIENT ID\n', /(\d+)\n/);
      return {
        async before(cycle) {
          waits.say('BLPOP queue 0\n');
          await transaction.ask('MULTI\n', /^OK\n/);
          await transaction.ask(`SET whole ${cycle}\n`, /^QUEUED\n/);
          await transaction.ask('INCR count\n', /^QUEUED\n/);
          await asks.ask(`SET kept ${'k'.repeat(1000)}${cycle}\n`, /^OK\n/);
        },
        async after(cycle) {
          await asks.ask('CLIENT ID\n', new RegExp(`^${id[1]}\\n`));
          await asks.ask(`LPUSH queue element-${cycle}\n`, /^1\n/);
          same('BLPOP', (await waits.hear(/^queue\n(.*)\n/))[1], `element-${cycle}`);
          await asks.ask(`PUBLISH news number-${cycle}\n`, /^1\n/);
          await subscriber.hear(new RegExp(`^message\\nnews\\nnumber-${cycle}\\n`));
          await transaction.ask('EXEC\n', new RegExp(`^OK\\n${cycle}\\n`));
          await asks.ask('GET kept\n', new RegExp(`^k{1000}${cycle}\\n`));
          const anew = place.client('a new connection', 'redis-cli', port);
          await anew.ask('GET whole\n', new RegExp(`^${cycle}\\n`));
          if (cycle % 5 === 1) await anew.ask('BGREWRITEAOF\n', /rewriting started\n/);
          anew.child.stdin.end();
          await anew.ended();
        },
        async end() {
          for (const one of [waits, transaction, asks, subscriber]) one.child.kill();
        },
      };
    },
    complaints: / # |error|fail/i,
    harmless: /User requested shutdown|Redis is now ready to exit/,
  },
];
