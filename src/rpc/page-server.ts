/** PAGE_SERVER and PAGE_SERVER_CHLD: a page server in a process of its own. */
import { closeLog } from '../api/logfile.ts';
import { listeningPlace } from '../api/page-server-place.ts';
import type { Settings } from '../api/settings.ts';
import { localFd } from '../base/brands.ts';
import { logInfo } from '../base/log.ts';
import { listenForPages, placeOfSocket } from '../engine/page-server/listen.ts';
import { requirePrevious } from '../engine/page-server/serve.ts';
import type { CriuReq } from '../images/schema/rpc.ts';
import { O } from '../kernel/constants/files.ts';
import { openFile } from '../kernel/files.ts';
import { Workers } from '../support/workers.ts';
import { attempt, begin, type Done } from './begin.ts';
import type { Channel } from './channel.ts';
import type { Client } from './request.ts';

/**
 * Starts one, which ends by itself after its first connection. Its socket listens when the answer is sent. To us both
 * requests are the same: it is our child, whom a client may wait for (WAIT_PID), and it goes on when we have ended.
 */
export function pageServerFor({ opts }: CriuReq, _: Channel, client: Client): Done | undefined {
  return attempt({}, () => {
    const { invocation, directories } = begin('page-server', opts, client);
    const { settings } = invocation;
    requirePrevious(directories.imagesDir, settings.prevImagesDir);
    const { psSocket } = settings;
    using own = psSocket === undefined ? listenForPages(listeningPlace(settings)) : undefined;
    const socket = own?.number ?? localFd(psSocket ?? -1);
    const { port } = placeOfSocket(socket);
    // Its number is a name of the directory for as long as the process has it open, whatever has become of ours.
    using images = openFile(directories.imagesDir, O.PATH | O.DIRECTORY);
    using workers = new Workers('waited for');
    logInfo(`a page server is started, on port ${port}`);
    closeLog();
    const words = commandLine(settings, `/proc/self/fd/${images.number}`, directories.workDir);
    const pid = workers.start([...words, 'listening', `${socket}`], socket, images.number);
    return { success: true, reply: { ps: { pid, port } } };
  });
}

function commandLine(settings: Settings, imagesDir: string, workDir: string): string[] {
  const { prevImagesDir, psSocket, logFile, verbosity, autoDedup, lazyPages } = settings;
  return [
    ...['page-server', '--no-default-config', '-D', imagesDir, '-W', workDir, `-v${verbosity}`],
    ...(logFile === undefined ? [] : ['-o', logFile]),
    ...(prevImagesDir === undefined ? [] : ['--prev-images-dir', prevImagesDir]),
    ...(autoDedup ? ['--auto-dedup'] : []),
    ...(lazyPages ? ['--lazy-pages'] : []),
    ...tlsWords(settings),
    ...(psSocket === undefined ? [] : ['--ps-socket', `${psSocket}`]),
  ];
}

function tlsWords({ tls, tlsCacert, tlsCacrl, tlsCert, tlsKey, tlsNoCnVerify }: Settings): string[] {
  if (!tls) return [];
  const files = { 'tls-cacert': tlsCacert, 'tls-cacrl': tlsCacrl, 'tls-cert': tlsCert, 'tls-key': tlsKey };
  const named = Object.entries(files).flatMap(([option, path]) => (path === undefined ? [] : [`--${option}`, path]));
  return ['--tls', ...named, ...(tlsNoCnVerify ? ['--tls-no-cn-verify'] : [])];
}
