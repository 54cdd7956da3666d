/** `swrk FD`: serves one client over a socket that it has left open under that number. */
import type { Invocation } from '../api/invocation.ts';
import { StasisError } from '../base/errors.ts';
import { Channel } from '../rpc/channel.ts';
import { takeRightsOf } from '../rpc/client-rights.ts';
import { serve } from '../rpc/serve.ts';

/** What the service adds when it starts Stasis for one of its clients. */
export const SERVED = 'served';

/** Runs the command; returns its exit code. */
export async function run({ operands }: Invocation): Promise<number> {
  const [word = '', from, ...more] = operands;
  if (!/^\d+$/.test(word) || (from !== undefined && from !== SERVED) || more.length > 0) {
    throw new StasisError({
      kind: 'usage',
      resource: 'swrk',
      reason: 'it takes the number of a descriptor, and nothing else',
      remedy: 'swrk is for programs that start Stasis with a socket; see docs/rpc.md',
    });
  }
  using channel = new Channel(Number(word));
  const { pid } = channel.peer;
  if (from === undefined) return await serve(channel, { pid, origin: 'parent', rights: 'all' });
  return await serve(channel, { pid, origin: 'service', rights: takeRightsOf(channel) });
}
