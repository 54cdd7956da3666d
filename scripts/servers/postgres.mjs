/**
 * PostgreSQL: many processes, System V and POSIX shared memory, and a client that has a transaction open; another waits
 * for its lock, a third is in the middle of a cursor, a fourth listens for notifications. One more client has a
 * transaction open over the Unix socket: it belongs to the tree, since nobody could carry its end of the connection
 * otherwise. In the variant `postgres-local` the client at the Unix socket is outside of the tree, and finds its
 * connection ended (`--unix-peer reset`).
 */
import { insider, same } from './dialogue.mjs';
import { freePort } from './place.mjs';

const BIN = '/usr/lib/postgresql/15/bin';
const QUIET = ['-X', '-q', '-A', '-t', '-U', 'postgres', '-d', 'postgres'];

/** psql(1) outside of the tree. */
const psql = (place, name, host = '127.0.0.1') =>
  place.client(name, 'psql', [...QUIET, '-h', host, '-p', `${place.port}`]);

async function start(place, hasInsider) {
  place.port = await freePort();
  const data = place.folder('data', 'postgres');
  const [setpriv, init] = place.as('postgres', `${BIN}/initdb`, '-D', data, '-A', 'trust', '--no-sync');
  place.must(setpriv, ...init);
  const settings = [`-p ${place.port}`, `-k ${data}`, '-c listen_addresses=127.0.0.1', '-c shared_buffers=32MB'];
  const [, args] = place.as('postgres', `${BIN}/postgres`, '-D', data, ...settings.flatMap((part) => part.split(' ')));
  if (!hasInsider) place.start(setpriv, args);
  else {
    place.must('mkfifo', place.path('asked'));
    place.file('answered', '');
    const inside = ['psql', ...QUIET, '-h', data, '-p', `${place.port}`].join(' ');
    const script = `setpriv "$@" & server=$!
      trap 'kill -INT $server' TERM
      until ${BIN}/pg_isready -q -h ${data} -p ${place.port}; do sleep 0.1; done
      ${inside} <>asked >>answered 2>&1 & client=$!
      wait; kill $client 2>/dev/null; wait`;
    place.start('sh', ['-c', script, 'sh', ...args]);
  }
  await place.listens(place.port);
}

/** The clients that come by TCP. */
async function meetByTcp(place) {
  const [works, waits, listens, reads] = ['a transaction', 'a lock', 'LISTEN', 'a cursor'].map((name) =>
    psql(place, name),
  );
  await works.ask('create table t (n int primary key, who text); select 1;\n', /^1\n/);
  const [, backend] = await works.ask('select pg_backend_pid();\n', /^(\d+)\n/);
  await listens.ask('listen bell; select 2;\n', /^2\n/);
  return {
    async before(cycle) {
      await works.ask(`begin; insert into t values (${cycle}, 'first'); select 'in';\n`, /^in\n/);
      waits.say(
        `insert into t values (${cycle}, 'late') on conflict (n) do update set who = t.who || ' and late' returning who;\n`,
      );
      await reads.ask('begin; declare c cursor for select generate_series(1, 20000); fetch 100 from c;\n', /\n100\n/);
      await new Promise((resolve) => setTimeout(resolve, 100));
    },
    async after(cycle) {
      await works.ask('select pg_backend_pid();\n', new RegExp(`^${backend}\n`));
      same('nobody else has got the lock', waits.rest, '');
      await works.ask(`select who from t where n = ${cycle};\n`, /^first\n/);
      await works.ask("commit; select 'done';\n", /^done\n/);
      await waits.hear(/^first and late\n/);
      const [rows] = await reads.ask('fetch all from c; commit; select 0;\n', /^[\s\S]*?\n0\n/);
      same('the rest of the cursor', rows.split('\n').filter(Number).length, 19_900);
      await works.ask(`notify bell, 'number ${cycle}'; select 3;\n`, /^3\n/);
      await listens.ask('select 4;\n', new RegExp(`4\n[\\s\\S]*"bell" with payload "number ${cycle}"`));
      const anew = psql(place, 'a new connection');
      await anew.ask('checkpoint; select count(*) from t;\n', new RegExp(`^${cycle}\n`));
      anew.child.stdin.end();
      same('its end', await anew.ended(), 'it ended with 0');
    },
    async end() {
      for (const one of [works, waits, listens, reads]) {
        one.child.stdin.end();
        same('the end of a client', await one.ended(), 'it ended with 0');
      }
    },
  };
}

/** The same, and a client in the tree, that comes by the Unix socket. */
async function meet(place) {
  const others = await meetByTcp(place);
  const inside = insider('the Unix socket', place.path('asked'), place.path('answered'));
  place.atEnd(() => inside.close());
  await inside.ask('create table u (n int); create temp table mine as select 42 as n; select 1;\n', /1\n/);
  await inside.ask('prepare p as select n * 2 from mine; select 2;\n', /2\n/);
  return {
    async before(cycle) {
      await others.before(cycle);
      await inside.ask(`begin; insert into u values (${cycle}); select 'in';\n`, /in\n/);
    },
    async after(cycle) {
      await inside.ask('execute p;\n', /^84\n/);
      await inside.ask('commit; select sum(n) from u;\n', new RegExp(`^${(cycle * (cycle + 1)) / 2}\n`));
      await others.after(cycle);
    },
    async end() {
      await others.end();
      inside.say('\\q\n');
    },
  };
}

/** The same, and a client at the Unix socket whom nobody can carry: its connection ends in an orderly way. */
async function meetOutsider(place) {
  const others = await meetByTcp(place);
  let outside;
  return {
    ...others,
    async before(cycle) {
      outside = psql(place, 'a client outside', place.path('data'));
      await outside.ask("create temp table if not exists o (n int); begin; select 'in';\n", /in\n/);
      await others.before(cycle);
    },
    async after(cycle) {
      await outside.ask("select 'there';\n", /server closed the connection|terminating connection|no connection/);
      outside.child.stdin.end();
      await outside.ended();
      const again = psql(place, 'the same client again', place.path('data'));
      await again.ask("select 'there';\n", /^there\n/);
      again.child.stdin.end();
      await again.ended();
      await others.after(cycle);
    },
  };
}

const shared = {
  packages: ['postgresql-15', 'postgresql-client-15'],
  complaints: /ERROR|FATAL|PANIC|WARNING|could not/,
};

export default [
  { name: 'postgres', start: (place) => start(place, true), meet, ...shared },
  {
    name: 'postgres-local',
    start: (place) => start(place, false),
    meet: meetOutsider,
    options: ['--unix-peer', 'reset'],
    ...shared,
    signal: 'SIGINT',
  },
];
