/** The commands of CRIU that are not built yet: refused by name. */

import { StasisError } from '../base/errors.ts';
import type { Invocation } from './settings.ts';

/** @throws StasisError (unsupported), always */
export function run({ command }: Invocation): never {
  throw new StasisError({
    kind: 'unsupported',
    resource: command,
    reason: 'this command is not built yet',
    remedy: '--help lists the commands there are',
  });
}
