/** The hooks of the work as questions to the client: each is asked, and goes on when it has answered. */
import type { LocalFd } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import { logInfo } from '../base/log.ts';
import type { HookEvent, HookPoint, Hooks } from '../engine/hooks.ts';
import { decodeMessage, encodeMessage } from '../images/codec.ts';
import { type CriuReq, CriuReqType, criuReq, criuResp } from '../images/schema/rpc.ts';
import { type Channel, clientGone } from './channel.ts';

/** Where CRIU tells the PID; clients take it from these two only. */
const TELLS_PID: readonly HookPoint[] = ['setup-namespaces', 'post-restore'];

/** Hooks that notify a client. */
export function notifications(channel: Channel): Pick<Hooks, 'at'> {
  return { at: (event) => notify(channel, event) };
}

/** @returns 0, or 1 for a client that answers that it has failed */
function notify(channel: Channel, { point, pid, descriptor, addExternal }: HookEvent): number {
  const told = pid === undefined || !TELLS_PID.includes(point) ? {} : { pid };
  const { opts, notify_success: went } = ask(channel, { script: point, ...told }, descriptor);
  if (!went) {
    logInfo(`the client answers that ${point} failed`);
    return 1;
  }
  for (const key of addExternal ? (opts?.external ?? []) : []) addExternal?.(key);
  return 0;
}

/** Sends a notification, and waits for the answer. @throws StasisError if there is none, or it is something else */
function ask(
  channel: Channel,
  notify: { readonly script: string; readonly pid?: number },
  descriptor: LocalFd | undefined,
): CriuReq {
  const message = encodeMessage(criuResp, { type: CriuReqType.NOTIFY, success: true, notify });
  channel.send(message, descriptor === undefined ? [] : [descriptor]);
  const bytes = channel.receive();
  if (!bytes) throw clientGone();
  const answer = decodeMessage(criuReq, bytes, { file: `the answer to ${notify.script}`, onUnknown: () => {} });
  if (answer.type === CriuReqType.NOTIFY) return answer;
  throw new StasisError({
    kind: 'usage',
    resource: `the answer to ${notify.script}`,
    reason: `it is a request of type ${answer.type}`,
    remedy: 'answer a notification with type NOTIFY and notify_success',
  });
}
