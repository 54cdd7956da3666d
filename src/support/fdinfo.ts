/** Reads the fdinfo of a file whose kind is known. */
import type { ErrorCode } from '../base/error-codes.ts';
import { StasisError, type TaskRef } from '../base/errors.ts';
import type { OpenFile } from '../contract/contract.ts';
import type { FileEntry } from '../images/schema/files.ts';
import type { FdDetail, KeyedDetail } from '../kernel/proc/fddetail.ts';
import { parseFdInfo } from '../kernel/proc/fdinfo.ts';

type Named<K extends FdDetail['kind']> = K extends KeyedDetail['kind']
  ? KeyedDetail
  : Extract<FdDetail, { readonly kind: K }>;

/** The file-specific part of fdinfo, which has to be of kind `kind`. @throws StasisError (kernel) if it is not */
export function detailOf<K extends FdDetail['kind']>(file: OpenFile, kind: K): Named<K> {
  const detail = detailIfAny(file, kind);
  if (detail) return detail;
  throw new StasisError({
    kind: 'kernel',
    ...aboutFile(file),
    reason: `fdinfo has no lines of a ${kind} file`,
  });
}

/** As {@link detailOf}; undefined when there are no such lines: an epoll or inotify instance that watches nothing. */
export function detailIfAny<K extends FdDetail['kind']>(file: OpenFile, kind: K): Named<K> | undefined {
  const { detail } = parseFdInfo(file.fdinfo());
  return detail.kind === kind ? (detail as Named<K>) : undefined;
}

/**
 * Whose an open file is and what is open, for an error that is about it. What is no descriptor of a task has no number.
 */
export function aboutFile(file: OpenFile): { task: TaskRef; fd: number | undefined; resource: string } {
  return { task: file.task, fd: file.fd < 0 ? undefined : file.fd, resource: file.link };
}

/** The obstacle an open file is that cannot be carried. */
export function fileObstacle(file: OpenFile, code: ErrorCode, reason: string, remedy?: string): StasisError {
  return new StasisError({ kind: 'unsupported', code, ...aboutFile(file), reason, remedy });
}

/** How warnings name a descriptor: `fd 3 (pipe:[17])`. */
export function describeFile(file: OpenFile): string {
  return `fd ${file.fd} (${file.link})`;
}

/** The part of a file entry that belongs to its type. @throws StasisError (image) when the entry has none */
export function partOf<P extends keyof FileEntry>(entry: FileEntry, part: P): NonNullable<FileEntry[P]> {
  const value = entry[part];
  if (value !== undefined && value !== null) return value as NonNullable<FileEntry[P]>;
  throw new StasisError({
    kind: 'image',
    resource: 'files.img',
    reason: `file ${entry.id} has no field ${part}, which its type asks for`,
  });
}
