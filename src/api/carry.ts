/** From settings to what the engine and the kinds are told, for dump and restore alike. */

import type { CarryOptions } from '../contract/contract.ts';
import type { Settings } from './settings.ts';

/** What the user allows the kinds to do. */
export function carryOptions(settings: Settings): CarryOptions {
  return {
    shellJob: settings.shellJob,
    fileLocks: settings.fileLocks,
    linkRemap: settings.linkRemap,
    evasiveDevices: settings.evasiveDevices,
    ghostLimit: settings.ghostLimit,
    fileValidation: settings.fileValidation,
    skipFileRwxCheck: settings.skipFileRwxCheck,
    forceIrmap: settings.forceIrmap,
    irmapScanPaths: settings.irmapScanPath,
    manageCgroups: settings.manageCgroups,
    cgroupRoot: settings.cgroupRoot,
    cgroupYard: settings.cgroupYard,
    external: settings.external,
    inheritFd: new Map(settings.inheritFd.map(({ fd, key }) => [key, fd])),
    leaveRunning: settings.finalState !== 'dead',
  };
}
