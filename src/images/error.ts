/** The error that all readers and writers of images throw. It names the file, the byte offset and the field. */

import type { ErrorCode } from '../base/error-codes.ts';
import { StasisError } from '../base/errors.ts';

/** Where and why an image cannot be read or written. */
export interface ImageFacts {
  /** The image's file name, as `core-17.img`. */
  readonly file: string;
  /** Byte offset in the file. */
  readonly offset?: number | undefined;
  /** `message.field`, as `vma_entry.start`. */
  readonly field?: string | undefined;
  readonly reason: string;
  readonly remedy?: string | undefined;
  /** `IMAGE` if it is not told. */
  readonly code?: ErrorCode | undefined;
}

/** A damaged, truncated, unknown or contradictory image, or a value that has no place in one. */
export class ImageError extends StasisError {
  readonly file: string;
  readonly offset: number | undefined;
  readonly field: string | undefined;

  constructor(facts: ImageFacts) {
    const { file, code, remedy } = facts;
    super({ kind: 'image', code, resource: file, reason: reasonWithPlace(facts), remedy });
    this.name = 'ImageError';
    this.file = facts.file;
    this.offset = facts.offset;
    this.field = facts.field;
  }

  override toJSON(): Record<string, unknown> {
    return { ...super.toJSON(), file: this.file, offset: this.offset, field: this.field };
  }
}

function reasonWithPlace({ offset, field, reason }: ImageFacts): string {
  const places = [];
  if (field !== undefined) places.push(field);
  if (offset !== undefined) places.push(`at byte ${offset}`);
  return places.length > 0 ? `${reason} (${places.join(' ')})` : reason;
}
