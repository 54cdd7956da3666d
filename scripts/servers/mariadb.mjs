/**
 * MariaDB, kin of MySQL, with rings of io_uring as Debian has it: a client that has a transaction open, one that waits
 * for its lock, one in SLEEP(), and one with a transaction over the Unix socket, which belongs to the tree. The variant
 * `mariadb-plain-io` does without io_uring.
 */
import { insider, same } from './dialogue.mjs';
import { freePort } from './place.mjs';

const QUIET = ['--no-defaults', '-N', '-B', '-n', '-u', 'root'];

async function start(place, hasRings) {
  place.port = await freePort();
  const data = place.folder('data', 'mysql');
  place.must(
    'mariadb-install-db',
    '--no-defaults',
    `--datadir=${data}`,
    '--user=mysql',
    '--auth-root-authentication-method=normal',
  );
  const [, args] = place.as(
    'mysql',
    '/usr/sbin/mariadbd',
    '--no-defaults',
    `--datadir=${data}`,
    `--port=${place.port}`,
    '--bind-address=127.0.0.1',
    `--socket=${data}/socket`,
    `--pid-file=${data}/pid`,
    '--innodb-buffer-pool-size=64M',
    `--innodb-use-native-aio=${hasRings ? 1 : 0}`,
    '--innodb-lock-wait-timeout=300',
  );
  place.must('mkfifo', place.path('asked'));
  place.file('answered', '');
  const client = ['mariadb', ...QUIET, `--socket=${data}/socket`].join(' ');
  const script = `setpriv "$@" & server=$!
    trap 'kill $server' TERM
    until mariadb-admin --no-defaults -u root --socket=${data}/socket ping; do sleep 0.2; done >/dev/null 2>&1
    ${client} <>asked >>answered 2>&1 & client=$!
    wait; kill $client 2>/dev/null; wait`;
  place.start('sh', ['-c', script, 'sh', ...args]);
  await place.listens(place.port);
}

async function meet(place) {
  const connect = (name) => place.client(name, 'mariadb', [...QUIET, '-h', '127.0.0.1', '-P', `${place.port}`]);
  const [works, waits, sleeps] = ['a transaction', 'a lock', 'SLEEP()'].map(connect);
  const inside = insider('the Unix socket', place.path('asked'), place.path('answered'));
  place.atEnd(() => inside.close());
  await works.ask(
    'create database proof; use proof; create table t (n int primary key, who varchar(40)) engine=innodb; select 1;\n',
    /^1\n/,
  );
  for (const one of [waits, sleeps]) await one.ask('use proof; select 2;\n', /^2\n/);
  await inside.ask(
    'use proof; create table u (n int) engine=innodb; create temporary table mine (n int); select 3;\n',
    /3\n/,
  );
  const [, id] = await works.ask("set @mine = 42; select get_lock('l', 1) + connection_id();\n", /^(\d+)\n/);
  return {
    async before(cycle) {
      await works.ask(`begin; insert into t values (${cycle}, 'first'); select 'in';\n`, /^in\n/);
      waits.say(
        `insert into t values (${cycle}, 'late') on duplicate key update who = concat(who, ' and late'); select 'had';\n`,
      );
      sleeps.say('select sleep(2) + 5;\n');
      await inside.ask(
        `begin; insert into u values (${cycle}); insert into mine values (${cycle}); select 'in';\n`,
        /^in\n/,
      );
      await new Promise((resolve) => setTimeout(resolve, 100));
    },
    async after(cycle) {
      same('nobody else has got the lock', waits.rest, '');
      await works.ask(
        `select who, @mine, is_used_lock('l') + 1 from t where n = ${cycle};\n`,
        new RegExp(`^first\t42\t${id}\n`),
      );
      await works.ask("commit; select 'done';\n", /^done\n/);
      await waits.hear(/^had\n/);
      await sleeps.hear(/^5\n/);
      await inside.ask(
        'commit; select (select sum(n) from u) + (select sum(n) from mine);\n',
        new RegExp(`^${cycle * (cycle + 1)}\n`),
      );
      const anew = connect('a new connection');
      await anew.ask('use proof; select count(*), max(who) from t;\n', new RegExp(`^${cycle}\tfirst and late\n`));
      await anew.ask(
        "create or replace table big engine=innodb as select seq, repeat('x', 500) x from seq_1_to_20000; select sum(seq) from big;\n",
        /^200010000\n/,
      );
      anew.child.stdin.end();
      same('its end', await anew.ended(), 'it ended with 0');
    },
    async end() {
      for (const one of [works, waits, sleeps]) {
        one.child.stdin.end();
        same('the end of a client', await one.ended(), 'it ended with 0');
      }
      inside.say('\\q\n');
    },
  };
}

const shared = { packages: ['mariadb-server', 'mariadb-client'], meet, complaints: /\[(ERROR|Warning)\]/ };

export default [
  { name: 'mariadb', start: (place) => start(place, true), ...shared },
  { name: 'mariadb-plain-io', start: (place) => start(place, false), ...shared },
];
