/** One client from its first request to its last: reads, has the work done, answers. */

import { closeLog } from '../api/logfile.ts';
import { toLog } from '../api/report.ts';
import { CRIU_VERSION } from '../api/version.ts';
import { asStasisError, InterruptedError, StasisError } from '../base/errors.ts';
import { logDebug, logInfo } from '../base/log.ts';
import { decodeMessage, encodeMessage } from '../images/codec.ts';
import { ImageError } from '../images/error.ts';
import type { InputOf } from '../images/message.ts';
import { type CriuReq, CriuReqType, criuReq, criuResp } from '../images/schema/rpc.ts';
import { W } from '../kernel/constants/ptrace.ts';
import { arenaAddress, arenaView, trySyscall } from '../kernel/syscall.ts';
import type { Done } from './begin.ts';
import type { Channel } from './channel.ts';
import { errnoOf, errorText } from './errors.ts';
import type { Client } from './request.ts';

type Reply = InputOf<typeof criuResp>;

/** What to do for a request; undefined: nothing is answered. */
type Answer = (request: CriuReq, channel: Channel, client: Client) => Done | undefined | Promise<Done | undefined>;

const ANSWERS: Readonly<Record<number, Answer>> = {
  // The engine is loaded only if there is work to do: every engine of containers asks for the version first.
  [CriuReqType.DUMP]: async (...asked) => (await import('./work.ts')).dumpFor(...asked),
  [CriuReqType.RESTORE]: async (...asked) => (await import('./work.ts')).restoreFor(...asked),
  [CriuReqType.CHECK]: async (...asked) => (await import('./work.ts')).checkFor(...asked),
  [CriuReqType.VERSION]: version,
  [CriuReqType.FEATURE_CHECK]: features,
  [CriuReqType.WAIT_PID]: waitFor,
  [CriuReqType.PRE_DUMP]: async (...asked) => (await import('./work.ts')).preDumpFor(...asked),
  [CriuReqType.SINGLE_PRE_DUMP]: async (...asked) => (await import('./work.ts')).preDumpFor(...asked),
  [CriuReqType.PAGE_SERVER]: async (...asked) => (await import('./page-server.ts')).pageServerFor(...asked),
  [CriuReqType.PAGE_SERVER_CHLD]: async (...asked) => (await import('./page-server.ts')).pageServerFor(...asked),
  [CriuReqType.CPUINFO_DUMP]: async (...asked) => (await import('./work.ts')).cpuInfoFor('dump', ...asked),
  [CriuReqType.CPUINFO_CHECK]: async (...asked) => (await import('./work.ts')).cpuInfoFor('check', ...asked),
};

/** After these the connection may be kept for further requests. */
const KEEPS_OPEN: readonly number[] = [
  ...[CriuReqType.PAGE_SERVER, CriuReqType.PAGE_SERVER_CHLD, CriuReqType.CPUINFO_DUMP, CriuReqType.CPUINFO_CHECK],
  ...[CriuReqType.FEATURE_CHECK, CriuReqType.VERSION],
];

/** What may follow a PRE_DUMP over the same connection. */
const GOES_ON: readonly number[] = [CriuReqType.PRE_DUMP, CriuReqType.DUMP];

/**
 * Serves a client: one request, or several if it asks to keep the connection open.
 *
 * @returns the exit code: 0 if all requests were granted, as clients expect of swrk
 * @throws InterruptedError after the answer, when a signal has asked Stasis to end
 */
export async function serve(channel: Channel, client: Client): Promise<number> {
  for (let before: CriuReq | undefined; ; ) {
    let request: CriuReq | undefined;
    try {
      request = receive(channel);
    } catch (error) {
      answerFailure(channel, CriuReqType.EMPTY, asStasisError(error));
      if (error instanceof InterruptedError) throw error;
      return 1;
    }
    // A client that only looked whether somebody is there, or one that makes no dump now, as runc.
    if (!request) return before ? 0 : 1;
    if (before && !GOES_ON.includes(request.type)) {
      const reason = 'after a PRE_DUMP comes another one, or the DUMP';
      answerFailure(channel, CriuReqType.EMPTY, new StasisError({ kind: 'usage', resource: 'the request', reason }));
      return 1;
    }
    try {
      const went = await grant(request, channel, client);
      if (!went.success) return 1;
      went.afterwards?.();
    } finally {
      closeLog();
    }
    before = request.type === CriuReqType.PRE_DUMP ? request : undefined;
    if (!request.keep_open && !before) return 0;
  }
}

function receive(channel: Channel): CriuReq | undefined {
  const bytes = channel.receive();
  if (!bytes) return undefined;
  // A newer client may have more to say; what this version does not know cannot be meant to change what it does.
  try {
    return decodeMessage(criuReq, bytes, { file: 'the request', onUnknown: ({ message }) => logDebug(message) });
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    const remedy = 'one packet is one message criu_req of CRIU 4.2';
    throw new StasisError({ kind: 'usage', resource: 'the request', reason: error.reason, remedy, cause: error });
  }
}

/** Does what a request asks for, and answers. Whatever happens, there is an answer. */
async function grant(
  request: CriuReq,
  channel: Channel,
  client: Client,
): Promise<Pick<Done, 'success' | 'afterwards'>> {
  const { type } = request;
  let done: Done | undefined;
  try {
    done = await answerOf(request)(request, channel, client);
    if (!done) return { success: true };
    const { success, error, reply, afterwards } = done;
    if (!success && error) return answerFailure(channel, type, error, reply);
    send(channel, { ...reply, type, success });
    return { success, afterwards };
  } catch (thrown) {
    // The work has been undone by now; its own errors were answered where they were thrown.
    answerFailure(channel, KNOWN_TYPES.includes(type) ? type : CriuReqType.EMPTY, asStasisError(thrown));
    if (thrown instanceof InterruptedError) throw thrown;
    return { success: false };
  }
}

const KNOWN_TYPES: readonly number[] = Object.keys(ANSWERS).map(Number);

function answerOf({ type, keep_open: keepOpen }: CriuReq): Answer {
  const answer = ANSWERS[type];
  if (!answer) {
    const remedy = 'types are those of CRIU 4.2; NOTIFY is an answer only';
    throw new StasisError({ kind: 'usage', reason: `there is no request of type ${type}`, remedy });
  }
  if (keepOpen && !KEEPS_OPEN.includes(type)) {
    const reason = 'the connection cannot be kept open after this request';
    throw new StasisError({ kind: 'usage', resource: 'keep_open', reason, remedy: 'connect anew for the next one' });
  }
  return answer;
}

function answerFailure(
  channel: Channel,
  type: number,
  error: StasisError,
  more: Partial<Reply> = {},
): { readonly success: false } {
  toLog(error, 'rpc.ts');
  const number = errnoOf(error);
  try {
    send(channel, {
      cr_errmsg: errorText(error),
      ...(number === undefined ? {} : { cr_errno: number }),
      ...more,
      type,
      success: false,
    });
  } catch (thrown) {
    // Nobody is there to be told; the log has it.
    logInfo(`the answer could not be sent: ${asStasisError(thrown).message}`);
  }
  return { success: false };
}

function send(channel: Channel, reply: Reply): void {
  channel.send(encodeMessage(criuResp, reply));
}

/** Without gitid: clients take one for a version after the release. */
function version(): Done {
  const [major = 0, minor = 0] = CRIU_VERSION.split('.').map(Number);
  return { success: true, reply: { version: { major_number: major, minor_number: minor } } };
}

/** The truth about us: what is not built is not there, whatever the kernel could do. */
async function features({ features: asked }: CriuReq): Promise<Done> {
  if (!asked) throw new StasisError({ kind: 'usage', resource: 'features', reason: 'it is not said which' });
  const { whyNoTracking } = await import('../memory/tracking/tracking.ts');
  const { canBringPages } = await import('../kernel/userfault-missing.ts');
  const reply = { mem_track: whyNoTracking() === undefined, lazy_pages: canBringPages(), pidfd_store: false };
  return { success: true, reply: { features: reply } };
}

/** Waits for a child of ours: the page server of an earlier request. */
function waitFor({ pid = 0 }: CriuReq): Done {
  const result = trySyscall('wait4', pid > 0 && pid < 2 ** 31 ? pid : 2 ** 31 - 1, arenaAddress, W.ALL, 0);
  if (result >= 0) return { success: true, reply: { status: arenaView.getInt32(0, true) } };
  const reason = 'there is no such child';
  return {
    success: false,
    error: new StasisError({ kind: 'gone', resource: `process ${pid}`, reason }),
    reply: { cr_errno: -result },
  };
}
