/** Names of hosts on the command line. */
import type { Settings } from '../api/settings.ts';

/** The settings with the address of the page server in place of its name, where it is needed. */
export async function located(settings: Settings): Promise<Settings> {
  return settings.pageServer ? await (await import('../api/page-server-place.ts')).withAddress(settings) : settings;
}
