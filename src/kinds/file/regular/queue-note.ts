/** What images tell of the descriptor of a POSIX message queue, beside a regular file. */
import { object, text, whole } from '../../../images/form.ts';

export const QUEUE_NOTE = 'messageQueue';

/** The ID of its IPC namespace, and its name. */
export const queueForm = object({ namespace: whole, name: text });

export interface QueueNote {
  readonly namespace: number;
  readonly name: string;
}
