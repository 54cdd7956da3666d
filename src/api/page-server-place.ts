/** Where a page server is, or is to be, as the options say it. */
import { StasisError } from '../base/errors.ts';
import { statusAt } from '../kernel/statx.ts';
import type { PageServerPlace } from '../memory/page-server/client.ts';
import { sockaddrOfEnd } from '../network/end-fields.ts';
import { parseInetAddress } from '../network/inet-address.ts';
import type { TlsOptions } from '../support/transport/tls.ts';
import type { Settings } from './settings.ts';

/** Where a dump finds its page server. @throws StasisError (usage) if the options do not say it */
export function placeOf(settings: Settings): PageServerPlace {
  const { address, port, psSocket, compress } = settings;
  if (compress !== 'none') {
    throw new StasisError({
      kind: 'usage',
      resource: '--compress',
      reason: 'cannot be used with --page-server, whose protocol knows plain pages only',
      remedy: 'leave one of them out',
    });
  }
  const tls = tlsOf(settings);
  if (psSocket !== undefined) return { descriptor: psSocket, tls };
  if (address === undefined || !port) {
    throw new StasisError({
      kind: 'usage',
      resource: '--page-server',
      reason: 'it is not said where the page server is',
      remedy: 'name it with --address ADDRESS --port PORT, or give a connection to it with --ps-socket FD',
    });
  }
  const bytes = parseInetAddress(address);
  if (!bytes) throw unknown(address);
  const name = `${address.includes(':') ? `[${address}]` : address}:${port}`;
  return { sockaddr: sockaddrAt(bytes, port), name, tls };
}

/** Where a page server listens: everywhere, unless an address is given; port 0 is one that the kernel chooses. */
export function listeningPlace({ address, port = 0 }: Settings): Uint8Array {
  const bytes = address === undefined ? new Uint8Array(4) : parseInetAddress(address);
  if (bytes) return sockaddrAt(bytes, port);
  throw new StasisError({
    kind: 'usage',
    resource: '--address',
    reason: `${address} is no address of IP`,
    remedy: 'name one of this machine, or leave it out to listen at all of them',
  });
}

/** CRIU's places of certificates. */
const PKI = '/etc/pki';

/**
 * How TLS is spoken, if it is. A certificate is needed at both ends; which name that of a server has is looked at
 * where one was asked for.
 */
export function tlsOf(settings: Settings): TlsOptions | undefined {
  const { tls, tlsCacert, tlsCacrl, tlsCert, tlsKey, tlsNoCnVerify, hostName, address } = settings;
  if (!tls) return undefined;
  const cacrl = tlsCacrl ?? `${PKI}/CA/cacrl.pem`;
  return {
    cacert: tlsCacert ?? `${PKI}/CA/cacert.pem`,
    cacrl: tlsCacrl === undefined && !statusAt(cacrl) ? undefined : cacrl,
    cert: tlsCert ?? `${PKI}/criu/cert.pem`,
    key: tlsKey ?? `${PKI}/criu/private/key.pem`,
    serverName: tlsNoCnVerify ? undefined : (hostName ?? address),
    toPageServer: true,
  };
}

function sockaddrAt(address: Uint8Array, port: number): Uint8Array {
  return sockaddrOfEnd({ address, port: Uint8Array.of(port >> 8, port & 0xff) });
}

function unknown(name: string): StasisError {
  return new StasisError({
    kind: 'usage',
    resource: '--address',
    reason: `${name} is no address of IP, nor is a host of that name known`,
    remedy: 'give the address of the page server',
  });
}

/** The settings with the address of a host in place of its name. What nobody knows stays as it is, for the error. */
export async function withAddress(settings: Settings): Promise<Settings> {
  const { address } = settings;
  if (address === undefined || parseInetAddress(address)) return settings;
  const { promises } = process.getBuiltinModule('node:dns');
  try {
    return { ...settings, address: (await promises.lookup(address)).address, hostName: address };
  } catch {
    return settings;
  }
}
