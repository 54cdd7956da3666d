/**
 * What CRIU's images have no place for, of one network namespace: a file of JSON beside the images, which CRIU does not
 * open because its name does not end in `.img`. Streams are messages of rtnetlink one after the other, in Base64.
 */
import {
  base64,
  dictionary,
  type FormType,
  flag,
  list,
  object,
  optional,
  readJson,
  text,
  whole,
} from '../../images/form.ts';

const form = object({
  /** By their path below /proc/sys/net. */
  sysctls: dictionary(text),
  links: list(
    object({
      index: whole,
      /** Somebody else makes it at the restore. */
      external: optional(flag),
      kind: optional(text),
      /** Attributes of IFLA_INFO_DATA. */
      data: optional(base64),
      /** Those of IFLA_INFO_SLAVE_DATA. */
      slave: optional(base64),
      /** Further attributes of the device. */
      common: optional(base64),
      otherNames: optional(list(text)),
      /** IN6_ADDR_GEN_MODE_*. */
      addressMode: optional(whole),
    }),
  ),
  rules6: optional(base64),
  nexthops: optional(base64),
  neighbours: optional(base64),
  forwarding: optional(base64),
  nftables: optional(base64),
});

export type OwnFile = FormType<typeof form>;
export type OwnLink = OwnFile['links'][number];

/** The name of the file for a namespace. */
export function ownFileName(id: number): string {
  return `stasis-net-${id}.json`;
}

export function encodeOwnFile(content: OwnFile): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(content)}\n`);
}

/** @throws ImageError naming the field */
export function decodeOwnFile(bytes: Uint8Array, id: number): OwnFile {
  return readJson(form, bytes, ownFileName(id));
}
