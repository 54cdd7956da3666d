/** The CRIU whose commands, options, images and RPC we speak. Clients compare it: 4.2 is 40200 to them. */
export const CRIU_VERSION = '4.2';

/** Our own version, as in `package.json` (a test compares them). */
export const STASIS_VERSION = '0.1.0';

/**
 * What `--version` prints. Called as `criu` the first line has CRIU's form, since LXC reads no further when it has
 * another; called as `stasis` our own version comes first, and CRIU's line second. There is no GitID line on purpose:
 * go-criu takes one for a development version after 4.2.
 */
export function versionText(program: string): string {
  const criu = `Version: ${CRIU_VERSION}\n`;
  if (program === 'criu') return `${criu}Stasis: ${STASIS_VERSION}\n`;
  return `Stasis ${STASIS_VERSION}, with the commands and images of CRIU ${CRIU_VERSION}\n${criu}`;
}
