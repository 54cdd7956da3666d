/**
 * The relay: a process of ours between the engine and the other end of a connection. It passes on what comes, both
 * ways, and ends when both directions have ended, or when either side is gone. The engine learns from its reports why
 * a connection did not come about or was lost. See support/transport/transport.ts.
 */
import type { Socket } from 'node:net';
import type { Duplex, Readable, Writable } from 'node:stream';
import type { PeerCertificate, TLSSocket } from 'node:tls';
import { PAGE_SIZE } from '../arch/page-size.ts';
import type { ErrorCode } from '../base/error-codes.ts';
import { StasisError } from '../base/errors.ts';
import { PageFlags } from '../images/pagemap.ts';
import { flagsOfAdded, getMessage, MESSAGE_SIZE } from '../memory/page-server/protocol.ts';
import { TLS_RELAY, type TlsOptions } from '../support/transport/tls.ts';
import type { RelayReport } from '../support/transport/transport.ts';

/** Milliseconds that one direction has to end when the other one has. */
const LINGER = 1000;

const UNTRUSTED: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'its certificate has expired',
  CERT_SIGNATURE_FAILURE: 'its certificate is of no authority that is trusted here',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet',
  CERT_REVOKED: 'its certificate was revoked',
  CRL_HAS_EXPIRED: 'the list of revoked certificates has expired',
  UNABLE_TO_GET_CRL: 'there is no list of revoked certificates of its authority',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is of no authority that is trusted here',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate is of no authority that is trusted here',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate is of no authority that is trusted here',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its certificate is of no authority that is trusted here',
  UNABLE_TO_GET_ISSUER_CERT: 'its certificate is of no authority that is trusted here',
};

/** Does the work of a relay; its words are those of `Transport.start`. Returns the exit code. */
export async function runRelay([plain, reports, how, ...words]: readonly string[]): Promise<number> {
  for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM', 'SIGPIPE'] as const) process.on(signal, () => {});
  const say = (report: RelayReport): void => {
    try {
      process.getBuiltinModule('node:fs').writeSync(Number(reports), `${JSON.stringify(report)}\n`);
    } catch {
      // Nobody listens any more.
    }
  };
  try {
    const near = socketOf(Number(plain));
    if (how === TLS_RELAY) await relayTls(near, words, say);
    else await relay(near, process.stdin, process.stdout, () => say({ ready: true }));
    return 0;
  } catch (error) {
    if (!(error instanceof StasisError)) throw error;
    const { code, reason, remedy, resource } = error;
    say({ code, reason, ...(remedy === undefined ? {} : { remedy }), ...(resource === undefined ? {} : { resource }) });
    return 1;
  }
}

/** A stream over a socket that is there already. Bun makes one by connect(), Node by its constructor. */
function socketOf(fd: number): Socket {
  const { Socket, connect } = process.getBuiltinModule('node:net');
  if (!process.versions.bun) return new Socket({ fd, readable: true, writable: true });
  return connect({ fd } as unknown as Parameters<typeof connect>[0]); // an option of Bun alone
}

async function relayTls(near: Socket, [side, fd, text]: readonly string[], say: (report: RelayReport) => void) {
  const options = JSON.parse(text ?? '') as TlsOptions; // written by this program
  const { secure, peer } = await shakeHands(socketOf(Number(fd)), side === 'server', options);
  let heard = false;
  secure.once('data', () => {
    heard = true;
  });
  secure.on('error', (error) => say(lost(error)));
  await relay(
    near,
    secure,
    secure,
    () => say({ ready: true, peer }),
    () => {
      // With TLS 1.3 a client is told only afterwards that its certificate is not accepted.
      if (!heard && side === 'client') say(refused());
    },
    side === 'client' && options.toPageServer,
  );
}

/** The most that a record of TLS holds. */
const RECORD = 16_384;

/**
 * What goes to a page server, in pieces that become records of TLS: a message, or a part of the pages behind it. CRIU
 * takes each record that it receives while it expects pages for pages, whatever is in it (`tls_recv_data_to_fd()`).
 */
export async function* inRecords(from: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let rest: Uint8Array = new Uint8Array();
  let pages = 0;
  for await (const piece of from) {
    rest = rest.length > 0 ? Buffer.concat([rest, piece]) : piece;
    for (;;) {
      const length = pages > 0 ? Math.min(pages, RECORD, rest.length) : MESSAGE_SIZE;
      if (length === 0 || rest.length < length) break;
      const record = rest.subarray(0, length);
      rest = rest.subarray(length);
      if (pages > 0) pages -= length;
      else pages = contentBehind(record);
      yield record;
    }
  }
  if (rest.length > 0) yield rest;
}

/** How many bytes of pages follow a message. */
function contentBehind(record: Uint8Array): number {
  const message = getMessage(new DataView(record.buffer, record.byteOffset, record.byteLength), 0);
  return (flagsOfAdded(message) ?? 0) & PageFlags.PRESENT ? message.pages * PAGE_SIZE : 0;
}

/** Passes on what comes in both directions until both have ended. `ended` is called when the far end has. */
async function relay(
  near: Duplex,
  from: Readable,
  to: Writable,
  ready: () => void,
  ended = () => {},
  isPaged = false,
): Promise<void> {
  const { pipeline } = process.getBuiltinModule('node:stream/promises');
  // Both pipelines listen to both ends.
  for (const stream of [near, from, to]) stream.setMaxListeners(0);
  ready();
  from.once('end', ended);
  from.once('close', ended);
  const inwards = pipeline(from, near).catch(() => {});
  const outwards = (isPaged ? sendRecords(near, to) : pipeline(near, to)).catch(() => {});
  await Promise.race([inwards, outwards]);
  // Nobody at our side closes one direction only, so whoever has ended one is gone.
  await Promise.race([Promise.all([inwards, outwards]), new Promise((resolve) => setTimeout(resolve, LINGER))]);
}

/** Sends one record after the other: what has to wait would be put together. */
async function sendRecords(near: Duplex, to: Writable): Promise<void> {
  for await (const record of inRecords(near)) {
    await new Promise<void>((resolve, reject) => to.write(record, (error) => (error ? reject(error) : resolve())));
  }
  to.end();
}

interface Secured {
  readonly secure: TLSSocket;
  readonly peer: string;
}

/**
 * CRIU takes a ticket of TLS 1.3, which comes after the handshake, for an end of what there is to receive: GnuTLS says
 * GNUTLS_E_AGAIN. OpenSSL, which Node has, cannot be kept from sending some; TLS 1.2 sends them within the handshake.
 */
const WITHOUT_TICKETS = {
  secureOptions: process.getBuiltinModule('node:crypto').constants.SSL_OP_NO_TICKET,
  ...(process.versions.bun ? {} : { maxVersion: 'TLSv1.2' as const }),
};

function shakeHands(far: Socket, isServer: boolean, options: TlsOptions): Promise<Secured> {
  const files = filesOf(options);
  const { createServer, connect } = process.getBuiltinModule('node:tls');
  return new Promise((resolve, reject) => {
    const fail = (error: unknown): void => reject(failed(error));
    const done = (secure: TLSSocket): void => {
      try {
        resolve({ secure, peer: requireTrusted(secure, isServer ? undefined : options.serverName) });
      } catch (error) {
        secure.destroy();
        reject(error);
      }
    };
    far.once('error', fail);
    far.once('close', () => fail(new Error('it has hung up')));
    // Whether it is trusted is judged here, so that the reason can be told.
    const judged = { ...files, rejectUnauthorized: false } as const;
    if (isServer) {
      const server = createServer({ ...judged, ...WITHOUT_TICKETS, requestCert: true }, done);
      server.on('tlsClientError', fail);
      server.emit('connection', far);
    } else {
      const secure = connect({ ...judged, socket: far, checkServerIdentity: () => undefined }, () => done(secure));
      secure.once('error', fail);
    }
  });
}

function filesOf(options: TlsOptions) {
  const { cacert, cacrl, cert, key } = options;
  const files = {
    ca: readPem(cacert, '--tls-cacert'),
    cert: readPem(cert, '--tls-cert'),
    key: readPem(key, '--tls-key'),
    ...(cacrl === undefined ? {} : { crl: readPem(cacrl, '--tls-cacrl') }),
  };
  try {
    process.getBuiltinModule('node:tls').createSecureContext(files);
  } catch (error) {
    const reason = `certificate, key and authority do not make sense together: ${messageOf(error)}`;
    throw new StasisError({
      kind: 'usage',
      code: 'TLS_FILES',
      resource: cert,
      reason,
      remedy: 'they are files in PEM',
    });
  }
  return files;
}

function readPem(path: string, option: string): Buffer {
  try {
    return process.getBuiltinModule('node:fs').readFileSync(path);
  } catch (error) {
    throw new StasisError({
      kind: 'io',
      code: 'TLS_FILES',
      resource: path,
      reason: `cannot be read: ${messageOf(error)}`,
      remedy: `name the file with ${option}`,
    });
  }
}

/** Returns the name in the certificate of the other end. @throws StasisError if it is not to be trusted */
function requireTrusted(secure: TLSSocket, name: string | undefined): string {
  const certificate: Partial<PeerCertificate> | undefined = secure.getPeerCertificate();
  if (!certificate?.subject) throw untrusted('it has shown no certificate');
  if (!secure.authorized) {
    const why = String(secure.authorizationError);
    throw untrusted(UNTRUSTED[why] ?? `its certificate is not trusted here (${why})`);
  }
  const cn = [certificate.subject.CN].flat()[0] ?? '';
  if (name !== undefined && !isFor(certificate as PeerCertificate, name)) {
    const names = certificate.subjectaltname ?? cn;
    const remedy = 'connect to the name it has, or give --tls-no-cn-verify to accept any name';
    throw untrusted(`its certificate is made out to ${names}, not to ${name}`, remedy);
  }
  return cn;
}

/** Whether a certificate is made out to a name. As for GnuTLS its CN counts, too, if it has no other names. */
function isFor(certificate: PeerCertificate, name: string): boolean {
  const { checkServerIdentity } = process.getBuiltinModule('node:tls');
  if (!checkServerIdentity(name, certificate)) return true;
  return certificate.subjectaltname === undefined && [certificate.subject.CN].flat().includes(name);
}

function untrusted(
  reason: string,
  remedy = 'give both sides certificates of one authority (--tls-cacert)',
): StasisError {
  return new StasisError({ kind: 'io', code: 'TLS_PEER', reason, remedy });
}

/** The error of a handshake that failed, which is reported already if it is one of ours. */
function failed(error: unknown): StasisError {
  if (error instanceof StasisError) return error;
  const reason = `no connection with TLS came about: ${messageOf(error)}`;
  return new StasisError({
    kind: 'io',
    code: 'TLS_FAILED',
    reason,
    remedy: 'give --tls on both sides; their logs say more',
  });
}

function refused(): RelayReport & { readonly code: ErrorCode } {
  const reason = 'it has hung up after the handshake, as one does that does not accept our certificate';
  return { code: 'TLS_PEER', reason, remedy: 'its log says why' };
}

function lost(error: unknown): RelayReport {
  return { code: 'TLS_FAILED', reason: `the connection was lost: ${messageOf(error)}`, remedy: 'its log says more' };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
