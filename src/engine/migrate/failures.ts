/** Errors on their way from one side of a migration to the other. */
import { ERROR_CODES, type ErrorCode } from '../../base/error-codes.ts';
import { asStasisError, ObstacleError, StasisError } from '../../base/errors.ts';
import type { Failure } from './messages.ts';

/** What is told of an error; each of several for itself. */
export function failuresOf(thrown: unknown): Failure[] {
  const error = asStasisError(thrown);
  const all = error instanceof ObstacleError ? error.obstacles : [error];
  return all.map(({ code, resource, reason, remedy, task }) => ({
    code,
    resource: resource ?? (task && `task ${task.pid}${task.comm ? ` (${task.comm})` : ''}`),
    reason,
    remedy,
  }));
}

/** Several in one. */
export function failureOf(thrown: unknown): Failure {
  const [first, ...more] = failuresOf(thrown);
  const { code = 'INTERNAL', resource, reason = 'nobody knows why', remedy } = first ?? {};
  return { code, resource, reason: more.length > 0 ? `${reason}, and ${more.length} things more` : reason, remedy };
}

/** The error for a restore that failed at the other side, whose name is `name`. */
export function failureError({ resource, reason, remedy }: Failure, name: string): StasisError {
  const what = resource === undefined ? reason : `${resource}: ${reason}`;
  return new StasisError({ kind: 'io', code: 'MIGRATION_FAILED', resource: name, reason: what, remedy });
}

/** The error for what is in the way at the other side. */
export function refusal(failures: readonly Failure[], name: string): StasisError {
  const errors = failures.map(
    ({ code, resource, reason, remedy }) =>
      new StasisError({
        kind: 'conflict',
        code: code in ERROR_CODES ? (code as ErrorCode) : 'MIGRATION_REFUSED',
        resource: resource === undefined ? name : `${name}: ${resource}`,
        reason,
        remedy,
      }),
  );
  const [only] = errors;
  if (only && errors.length === 1) return only;
  return new ObstacleError(`${errors.length} things are in the way at ${name}`, errors);
}
