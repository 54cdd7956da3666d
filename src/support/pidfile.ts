/** Pidfiles: the PID of a restored root, or of a service, for whoever has started it. */
import { errnoNameOf, StasisError } from '../base/errors.ts';
import { encodeText } from '../base/text.ts';
import { O } from '../kernel/constants/files.ts';
import { disk } from '../kernel/disk.ts';

/** Writes a pidfile, which must not exist. @throws StasisError (io) */
export function writePidfile(path: string, pid: number): void {
  try {
    const fd = disk.open(path, O.WRONLY | O.CREAT | O.EXCL, 0o666);
    disk.write(fd, encodeText(String(pid)));
    disk.close(fd);
  } catch (error) {
    const code = errnoNameOf(error) ?? String(error);
    throw new StasisError({
      kind: 'io',
      resource: path,
      reason: `the pidfile cannot be written: ${code}`,
      cause: error,
    });
  }
}
