/** Makes what the engine and the kinds are told from settings. */

import { hostPid } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import type { CarryOptions } from '../contract/contract.ts';
import type { DumpOptions } from '../engine/dump/dump.ts';
import type { HookEvent, Hooks } from '../engine/hooks.ts';
import type { RestoreOptions } from '../engine/restore/restore.ts';
import { ActionScripts } from './action-scripts.ts';
import { cgroupProperties } from './cgroup-properties.ts';
import type { Settings } from './settings.ts';

/** What the user allows the kinds to do. */
export function carryOptions(settings: Settings): CarryOptions {
  return {
    shellJob: settings.shellJob,
    // Only clients of the RPC can be handed a descriptor, or be in the tree.
    orphanPtsMaster: false,
    ownSocket: undefined,
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
    cgroupProperties: cgroupProperties(settings.cgroupPropsFile, settings.cgroupProps),
    cgroupControllers: settings.cgroupDumpController,
    cgroupYard: settings.cgroupYard,
    root: settings.root,
    skipMounts: settings.skipMnt,
    enableFs: settings.enableFs,
    extMountMap: new Map(settings.extMountMap.map(({ key = '', value }) => [key, value])),
    external: [...settings.external, ...settings.vethPair.map(({ key = '', value }) => `veth[${key}]:${value}`)],
    inheritFd: new Map(settings.inheritFd.map(({ fd, key }) => [key, fd])),
    tcpEstablished: settings.tcpEstablished,
    tcpClose: settings.tcpClose,
    skipInFlight: settings.skipInFlight,
    networkLock: settings.networkLock,
    extUnixSockets: extUnixSockets(settings),
    unixPeer: settings.unixPeer,
    inetAddressMap: new Map(settings.inetAddrMap.map(({ key = '', value }) => [key, value])),
    joinNamespaces: settings.joinNs.map(({ ns, target }) => ({ type: ns, target })),
    emptyNetNs: settings.emptyNetNs,
    weakSysctls: settings.weakSysctls,
    leaveRunning: settings.finalState !== 'dead',
  };
}

function extUnixSockets({ extUnixSk, extUnixInodes }: Settings): CarryOptions['extUnixSockets'] {
  if (!extUnixSk) return 'none';
  return extUnixInodes.length === 0 ? 'all' : new Set(extUnixInodes);
}

/** The directories a command works in; both absolute. */
export interface Directories {
  readonly imagesDir: string;
  readonly workDir: string;
}

/** What the engine is told of a dump. @throws StasisError (usage) when no process is named */
export function dumpOptions(settings: Settings, { imagesDir, workDir }: Directories): DumpOptions {
  if (settings.tree === undefined) {
    throw new StasisError({ kind: 'usage', reason: 'no process was named', remedy: 'name it with -t PID' });
  }
  return {
    pid: hostPid(settings.tree),
    imagesDir,
    workDir,
    finalState: settings.finalState,
    // 0 means no limit, as with the alarm(2) that CRIU sets.
    timeout: settings.timeout || Number.POSITIVE_INFINITY,
    freezeCgroup: settings.freezeCgroup,
    carry: carryOptions(settings),
  };
}

/** What the engine is told of a restore. Relative paths count from the work directory. */
export function restoreOptions(settings: Settings, { imagesDir, workDir }: Directories): RestoreOptions {
  const { pidfile } = settings;
  return {
    imagesDir,
    workDir,
    pidfile: pidfile === undefined || pidfile.startsWith('/') ? pidfile : `${workDir}/${pidfile}`,
    sibling: settings.restoreSibling,
    detached: settings.detached,
    verify: settings.verify,
    leaveStopped: settings.finalState === 'stopped',
    carry: carryOptions(settings),
  };
}

/** The hooks of a command: `more`, then its action scripts unless that has failed. With CRIU a client is first, too. */
export function hooksOf({ actionScript }: Settings, { imagesDir }: Directories, more: Hooks = {}): Hooks {
  if (actionScript.length === 0) return more;
  const scripts = new ActionScripts(actionScript, imagesDir);
  const at = (event: HookEvent): number => {
    const code = more.at?.(event) ?? 0;
    return code === 0 ? scripts.at(event) : code;
  };
  return { ...more, at };
}
