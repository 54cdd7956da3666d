import { tryReadLink } from '../../kernel/files.ts';
import { tryFollowedStatus } from '../../kernel/statx.ts';

/**
 * What tells files apart that links of /proc such as /proc/PID/exe lead to: mount, device, inode, name. Most tasks of
 * a tree have the same ones, and so each is opened only once. Undefined if the link leads nowhere, or cannot be read.
 */
export function keyOfPath(via: string): string | undefined {
  const status = tryFollowedStatus(via);
  const link = status && tryReadLink(via);
  return typeof link === 'string' ? `${status?.mntId}:${status?.dev}:${status?.ino}:${link}` : undefined;
}
