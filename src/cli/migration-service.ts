/** `service --listen`: takes trees that `migrate` sends, each connection in a process of its own. */
import type { Invocation } from '../api/invocation.ts';
import { flushLog } from '../api/logfile.ts';
import { placeNamed, requireTrust, sockaddrOfPlace, targetOptions } from '../api/migration.ts';
import { tlsOf } from '../api/page-server-place.ts';
import { printOut } from '../api/print.ts';
import type { Settings } from '../api/settings.ts';
import { interruptible } from '../api/signals.ts';
import { type LocalFd, localFd } from '../base/brands.ts';
import { errnoNameOf, StasisError } from '../base/errors.ts';
import { logInfo, logWarn } from '../base/log.ts';
import type { Link } from '../engine/migrate/channel.ts';
import { serveMigration } from '../engine/migrate/target.ts';
import { acceptPlain, givenPages, listenForPages, placeOfSocket } from '../engine/page-server/listen.ts';
import { TCP } from '../kernel/constants/inet.ts';
import { IPPROTO, SO } from '../kernel/constants/sockets.ts';
import { trySetNumber } from '../kernel/sockets.ts';
import { Fd, syscall } from '../kernel/syscall.ts';
import { Transport } from '../support/transport/transport.ts';
import { Workers } from '../support/workers.ts';
import { withOutcome } from '../tracee/interruption.ts';
import { goToBackground, socketOfForeground, tellReady } from './background.ts';

/** The operand that goes before the number of a connection that is to be served. */
const CONNECTED = 'connected';
const [STDOUT, STDERR] = [1, 2];

/** Serves one connection, if the words say so or it is stdin and stdout; else listens. Returns the exit code. */
export function runMigrationService({ settings, operands }: Invocation, directory: string): number {
  const [word, number = ''] = operands;
  if (settings.listen === '-') return serveOne(settings, overStdio());
  if (word === CONNECTED) return serveOne(settings, connectionAt(settings, localFd(Number(number))));
  const place = placeNamed(settings.listen ?? '', '--listen');
  requireTrust(place, settings, '--listen');
  const given = socketOfForeground('service', operands);
  using listener = given ?? listenForPages(sockaddrOfPlace(place, '--listen'));
  const { name } = placeOfSocket(listener.number);
  if (!given && place.port === 0 && !settings.json) printOut(`listening at ${name}\n`);
  if (settings.detached && !given) {
    tellReady(settings, goToBackground(listener, directory));
    return 0;
  }
  if (!given) tellReady(settings, process.pid);
  logInfo(`listening at ${name} for trees that are migrated`);
  flushLog();
  try {
    return interruptible(() => serveAll(listener, directory));
  } catch (error) {
    throw withOutcome(error, 'no further tree is taken');
  }
}

function serveAll(listener: Fd, directory: string): never {
  using workers = new Workers();
  const words = process.argv.slice(2).filter((word) => word !== '-d' && word !== '--daemon');
  const listening = words.indexOf('listening');
  const own = listening < 0 ? words : words.slice(0, listening);
  for (;;) {
    const { connection, from } = acceptPlain(listener);
    using _ = connection;
    try {
      const work = process.cwd();
      process.chdir(directory);
      const pid = workers.start([...own, CONNECTED, `${connection.number}`], connection.number);
      process.chdir(work);
      logInfo(`${from} is served by process ${pid}`);
    } catch (error) {
      logWarn('service.ts', `${from} cannot be served: ${errnoNameOf(error) ?? error}`);
    }
  }
}

/** Speaks TLS on a connection, if that is wanted. A machine that is gone is noticed within a minute. */
function connectionAt(settings: Settings, socket: LocalFd): Link {
  trySetNumber(socket, SO.KEEPALIVE, 1);
  trySetNumber(socket, TCP.KEEPIDLE, 10, IPPROTO.TCP);
  trySetNumber(socket, TCP.KEEPINTVL, 5, IPPROTO.TCP);
  trySetNumber(socket, TCP.KEEPCNT, 6, IPPROTO.TCP);
  const from = placeOfSocket(socket).name;
  const connection = givenPages(socket, from, tlsOf({ ...settings, tlsNoCnVerify: true }));
  if (connection.socket !== socket) new Fd(socket)[Symbol.dispose](); // the relay has it
  return { ...connection, name: from, [Symbol.dispose]: () => connection[Symbol.dispose]() };
}

/** What ssh has as our stdin and stdout. Nothing else is to be written there. */
function overStdio(): Link {
  const transport = Transport.start(['stdio'], [], 'the machine that migrates');
  syscall('dup3', STDERR, STDOUT, 0);
  const { socket } = transport;
  return { socket, name: 'the source', [Symbol.dispose]: () => transport[Symbol.dispose]() };
}

function serveOne(settings: Settings, link: Link): number {
  try {
    const { pid } = interruptible(() => serveMigration(link, targetOptions(settings, {})));
    if (pid !== undefined) logInfo(`task ${pid} has come`);
    return 0;
  } catch (error) {
    const outcome = withOutcome(error, 'nothing is left of the tree here');
    // What is in the way is the matter of the source, which was told; it stays with the log here.
    if (outcome instanceof StasisError && outcome.code === 'MIGRATION_REFUSED') return 1;
    throw outcome;
  }
}
