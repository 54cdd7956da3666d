/**
 * `--inet-addr-map`: addresses of saved sockets, and what stands in their place after the restore; of both ends. Pure.
 *
 *     const map = AddressMap.of(options.inetAddressMap);
 *     map.apply(entry);     // an entry with other addresses, or the same one
 */
import type { InetSkEntry } from '../images/schema/sockets.ts';
import { AF } from '../kernel/constants/sockets.ts';
import { mappedOf, parseInetAddress } from './inet-address.ts';

/** An address, perhaps with a port; 4 or 16 bytes in network order. */
export interface InetEndText {
  readonly address: Uint8Array;
  readonly port: number | undefined;
}

/** Reads `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`; undefined for anything else. */
export function parseInetEnd(text: string): InetEndText | undefined {
  const [, inner, port] = /^\[([^\]]+)\](?::(\d+))?$/.exec(text) ?? /^([^:]+):(\d+)$/.exec(text) ?? [undefined, text];
  const address = parseInetAddress(inner as string); // the last form always has it
  const number = port === undefined ? undefined : Number(port);
  if (!address || (number !== undefined && (number > 0xffff || !/^(0|[1-9]\d*)$/.test(port ?? '')))) return undefined;
  return { address, port: number };
}

/** The words of an address as an entry has them: as many as its family has, those of IPv4 mapped into IPv6. */
function wordsOf(address: Uint8Array, family: number): number[] {
  const bytes = family === AF.INET6 && address.length === 4 ? mapped(address) : address;
  return Array.from(new Uint32Array(bytes.slice().buffer));
}

function mapped(address: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(16);
  bytes.set([0xff, 0xff], 10);
  bytes.set(address, 12);
  return bytes;
}

export class AddressMap {
  readonly #byKey = new Map<string, InetEndText>();

  /** `pairs` has texts that {@link parseInetEnd} reads. */
  constructor(pairs: ReadonlyMap<string, string>) {
    for (const [from, to] of pairs) {
      const [old, now] = [parseInetEnd(from), parseInetEnd(to)];
      if (old && now) this.#byKey.set(keyOf(old.address, old.port), now);
    }
  }

  /** The entry with the addresses that it is to have. One with a port counts more than one without. */
  apply(entry: InetSkEntry): InetSkEntry {
    if (this.#byKey.size === 0) return entry;
    const source = this.#find(entry.family, entry.src_addr, entry.src_port);
    const destination = this.#find(entry.family, entry.dst_addr, entry.dst_port);
    return {
      ...entry,
      ...(source ? { src_addr: wordsOf(source.address, entry.family), src_port: source.port ?? entry.src_port } : {}),
      ...(destination
        ? { dst_addr: wordsOf(destination.address, entry.family), dst_port: destination.port ?? entry.dst_port }
        : {}),
    };
  }

  #find(family: number, words: readonly number[], port: number): InetEndText | undefined {
    const bytes = new Uint8Array(new Uint32Array(words.slice(0, family === AF.INET ? 1 : 4)).buffer);
    const address = mappedOf(bytes) ?? bytes;
    return this.#byKey.get(keyOf(address, port)) ?? this.#byKey.get(keyOf(address, undefined));
  }
}

function keyOf(address: Uint8Array, port: number | undefined): string {
  return `${address.join('.')} ${port ?? ''}`;
}
