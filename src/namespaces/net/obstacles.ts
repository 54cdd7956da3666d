/** What of a network namespace cannot be carried, and what will change. */
import { StasisError } from '../../base/errors.ts';
import type { NoticeFacts } from '../../base/notice.ts';
import { LINK_KINDS } from './link-kinds.ts';
import { isLoopback, isUnusedFallback, type Link } from './links.ts';

/** A namespace as errors name it. */
export interface NamedNamespace {
  readonly ino: number;
}

/**
 * Why a device cannot be made again; undefined if it can. `external` are the names of those that somebody else makes.
 * Pure.
 */
export function obstacleOfLink(
  link: Link,
  { ino }: NamedNamespace,
  external: ReadonlySet<string>,
): StasisError | undefined {
  const { name, kind } = link;
  if (external.has(name) || isLoopback(link) || isUnusedFallback(link)) return undefined;
  const reason = reasonOf(link);
  if (reason === undefined) return undefined;
  return new StasisError({
    kind: 'unsupported',
    code: 'NETWORK_DEVICE',
    resource: `network device ${name}`,
    reason,
    remedy: link.hasXdp
      ? `detach the program: ip link set dev ${name} xdp off`
      : `--external 'netdev[${name}]' says that somebody else makes it at the restore`,
    object: { type: 'network device', name, kind: kind ?? 'hardware', namespace: ino },
  });
}

function reasonOf({ kind, hasXdp }: Link): string | undefined {
  if (kind === undefined) return 'it is hardware, which cannot be made again';
  if (!LINK_KINDS.has(kind)) return `devices of the kind ${kind} are not carried`;
  return hasXdp ? 'it runs a program of XDP, which cannot be told' : undefined;
}

/** What is said of queueing disciplines, which are not carried. Pure. */
export function queueNotices(
  queues: readonly { readonly index: number; readonly kind: string }[],
  links: readonly Link[],
): NoticeFacts[] {
  return queues.map(({ index, kind }) => {
    const name = links.find((link) => link.index === index)?.name ?? String(index);
    return {
      resource: `network device ${name}`,
      reason: `its queueing discipline ${kind} is not carried: after a restore it has the usual one`,
      remedy: 'set it again with tc qdisc, in an action script',
    };
  });
}
