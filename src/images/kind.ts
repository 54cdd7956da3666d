/** The description of a kind of image: its file name, its magic, its messages. */

import type { Message, TypeOf } from './message.ts';
import type { PayloadCodec } from './payload.ts';

/**
 * How an image begins. `common`: the common magic, then the magic of the kind. `service`: the service magic, then the
 * magic of the kind. `bare` (the inventory): only the magic of the kind. `raw`: no magic, the file is not made of
 * messages.
 */
export type Framing = 'common' | 'service' | 'bare' | 'raw';

/** The name of a kind of image, and of its files. */
export interface RawKind {
  /** The name of its magic, as crit prints it. */
  readonly name: string;
  /**
   * The file name, without the extension `.img`, which all but service files have. `%u` stands for a decimal number,
   * `%x` for a hexadecimal number, `%s` for a word.
   */
  readonly pattern: string;
  readonly magic: number;
  readonly framing: Framing;
}

/** A kind of image made of messages `M`, each followed by a blob `E` if there is a codec for it. */
export interface ImageKind<M extends Message = Message, E = unknown> extends RawKind {
  /** A function, so that the table of kinds does not build every message when it is loaded. */
  readonly message: () => M;
  readonly payload?: PayloadCodec<TypeOf<M>, E> | undefined;
}

/** A kind whose first entry is another message than the rest. */
export interface HeadedKind<H extends Message = Message, M extends Message = Message, E = unknown>
  extends ImageKind<M, E> {
  readonly head: () => H;
  readonly headPayload?: PayloadCodec<TypeOf<H>, E> | undefined;
}

/** The file name of an image: `imageName(Images.core, 17)` is `core-17.img`. */
export function imageName(kind: RawKind, id: number | bigint | string = ''): string {
  const { pattern } = kind;
  const hole = pattern.indexOf('%');
  const shown = pattern[hole + 1] === 'x' ? id.toString(16) : String(id);
  const name = hole < 0 ? pattern : pattern.slice(0, hole) + shown + pattern.slice(hole + 2);
  return kind.framing === 'service' ? name : `${name}.img`;
}
