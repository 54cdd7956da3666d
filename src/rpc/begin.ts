/** What all requests that do something have in common. */
import type { Directories } from '../api/engine-options.ts';
import type { Invocation } from '../api/invocation.ts';
import { requirePrivileges } from '../api/privileges.ts';
import type { Command } from '../api/settings.ts';
import { openWorkplace } from '../api/workplace.ts';
import { asStasisError, InterruptedError, StasisError } from '../base/errors.ts';
import type { InputOf } from '../images/message.ts';
import type { CriuOpts, criuResp } from '../images/schema/rpc.ts';
import { type Client, understand } from './request.ts';

/** How a request went. */
export interface Done {
  readonly success: boolean;
  /** Why it failed. */
  readonly error?: StasisError;
  /** The fields of the answer besides those that say how it went. */
  readonly reply: Partial<InputOf<typeof criuResp>>;
  /** What is done when the answer has been sent. */
  readonly afterwards?: (() => void) | undefined;
}

/** What is thrown is the error of the answer, but for what ends Stasis as well. */
export function attempt(reply: Done['reply'], work: () => Done | undefined): Done | undefined {
  try {
    return work();
  } catch (error) {
    if (error instanceof InterruptedError) throw error;
    return { success: false, error: asStasisError(error), reply };
  }
}

/** Understands a request and opens its log. @throws StasisError if it must not be done */
export function begin(
  command: Command,
  opts: CriuOpts | undefined,
  client: Client,
): { readonly invocation: Invocation; readonly directories: Directories } {
  if (!opts) throw new StasisError({ kind: 'usage', resource: 'opts', reason: 'they are missing' });
  const { invocation, refusal } = understand(command, opts, client);
  const directories = openWorkplace(invocation);
  if (refusal) throw refusal;
  requirePrivileges(invocation.settings.unprivileged);
  return { invocation, directories };
}
