/** Connections with TLS, whose two ends prove who they are by certificates of the same authority. */
import type { LocalFd } from '../../base/brands.ts';
import { TCP } from '../../kernel/constants/inet.ts';
import { IPPROTO, SO } from '../../kernel/constants/sockets.ts';
import { trySetNumber } from '../../kernel/sockets.ts';
import { Transport } from './transport.ts';

/** Paths of files in PEM, all absolute. */
export interface TlsFiles {
  /** The authority whose certificates are trusted. */
  readonly cacert: string;
  /** Its list of certificates that are trusted no longer. */
  readonly cacrl: string | undefined;
  readonly cert: string;
  readonly key: string;
}

/** What an end of a connection needs to know. */
export interface TlsOptions extends TlsFiles {
  /** Whose name, or address, the certificate of the server has to have; undefined: any of the authority. */
  readonly serverName: string | undefined;
  /** A page server is at the other end, perhaps CRIU's, which wants its messages and pages in records of their own. */
  readonly toPageServer: boolean;
}

/** The word for a relay that speaks TLS. */
export const TLS_RELAY = 'tls';

/**
 * Speaks TLS on a connected socket, which stays the caller's; `name` is the other end, for errors.
 * @throws StasisError (`TLS_FILES`, `TLS_PEER`, `TLS_FAILED`) if the ends do not trust each other
 */
export function overTls(socket: LocalFd, side: 'client' | 'server', options: TlsOptions, name: string): Transport {
  trySetNumber(socket, TCP.NODELAY, 1, IPPROTO.TCP);
  trySetNumber(socket, SO.KEEPALIVE, 1);
  return Transport.start([TLS_RELAY, side, `${socket}`, JSON.stringify(options)], [socket], name);
}
