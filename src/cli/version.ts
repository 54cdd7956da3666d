/** The CRIU whose commands, options, images and RPC we speak. Clients compare it: 4.2 is 40200 to them. */
export const CRIU_VERSION = '4.2';

/** Our own version, as in `package.json` (a test compares them). */
export const STASIS_VERSION = '0.1.0';

/** What `--version` prints. The first line has CRIU's form, which LXC and go-criu read; there is no GitID line on
 * purpose, as go-criu takes one for a development version after 4.2. */
export function versionText(): string {
  return `Version: ${CRIU_VERSION}\nStasis: ${STASIS_VERSION}\n`;
}
