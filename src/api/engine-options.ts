/** Makes what the engine and the kinds are told from settings. */

import { hostPid } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import { Part } from '../base/part.ts';
import type { CarryOptions, WantedLabel } from '../contract/carry-options.ts';
import type { DumpOptions } from '../engine/dump/dump.ts';
import type { HookEvent, Hooks } from '../engine/hooks.ts';
import type { PreDumpOptions } from '../engine/pre-dump/pre-dump.ts';
import type { RestoreOptions } from '../engine/restore/restore.ts';
import { CriuPreDumpMode } from '../images/schema/rpc.ts';
import { ActionScripts } from './action-scripts.ts';
import { cgroupProperties } from './cgroup-properties.ts';
import type { Settings } from './settings.ts';

const KEEPING = new Part(() => require('./keeping.ts') as typeof import('./keeping.ts'));
const PLACE = new Part(() => require('./page-server-place.ts') as typeof import('./page-server-place.ts'));

const ARCHIVES = new Part(() => require('./archive-places.ts') as typeof import('./archive-places.ts'));

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
    securityLabel: settings.lsmProfile === undefined ? undefined : wantedLabel(settings.lsmProfile),
    leaveRunning: settings.finalState !== 'dead',
    inOneFile: settings.to !== undefined,
  };
}

/** Reads `TYPE:NAME`. A name may have colons: contexts of SELinux do. @throws StasisError (usage) */
function wantedLabel(given: string): WantedLabel {
  const colon = given.indexOf(':');
  const [module, text] = [given.slice(0, colon), given.slice(colon + 1)];
  if (module === 'none' && text === '') return { module };
  if ((module === 'apparmor' || module === 'selinux') && text !== '') return { module, text };
  throw new StasisError({
    kind: 'usage',
    resource: '--lsm-profile',
    reason: `"${given}" is no security label`,
    remedy: 'write apparmor:PROFILE, selinux:CONTEXT, or none: for that of Stasis itself',
  });
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
export function dumpOptions(settings: Settings, directories: Directories): DumpOptions {
  const { finalState, trackMem, to, spool, encrypt } = settings;
  return {
    ...freezeOptions(settings, directories),
    finalState,
    trackMem,
    to: (to ?? spool ?? encrypt) === undefined ? undefined : ARCHIVES.load().archiveOfDump(settings),
    writesStats: writesStats(settings),
    keeping: settings.lazyPages ? KEEPING.load().keepingOf(settings) : undefined,
    carry: carryOptions(settings),
  };
}

/** An archive comes with no files beside it, unless a place for them is named. */
function writesStats({ workDir, to, from }: Settings): boolean {
  return workDir !== undefined || (to ?? from) === undefined;
}

/** What the engine is told of a pre-dump. @throws StasisError (usage) when no process is named */
export function preDumpOptions(settings: Settings, directories: Directories): PreDumpOptions {
  if (settings.lazyPages) {
    const reason = 'a pre-dump keeps no pages: the processes go on';
    throw new StasisError({ kind: 'usage', resource: '--lazy-pages', reason, remedy: 'leave it out' });
  }
  const mode = settings.preDumpMode === 'read' ? CriuPreDumpMode.VM_READ : CriuPreDumpMode.SPLICE;
  return { ...freezeOptions(settings, directories), mode };
}

/** What dumps and pre-dumps are told alike. */
function freezeOptions(settings: Settings, { imagesDir, workDir }: Directories): Omit<PreDumpOptions, 'mode'> {
  if (settings.tree === undefined) {
    throw new StasisError({ kind: 'usage', reason: 'no process was named', remedy: 'name it with -t PID' });
  }
  return {
    pid: hostPid(settings.tree),
    imagesDir,
    workDir,
    // 0 means no limit, as with the alarm(2) that CRIU sets.
    timeout: settings.timeout || Number.POSITIVE_INFINITY,
    freezeCgroup: settings.freezeCgroup,
    previous: settings.prevImagesDir,
    autoDedup: settings.autoDedup && !settings.pageServer,
    compress: settings.compress === 'zstd',
    pageServer: settings.pageServer ? PLACE.load().placeOf(settings) : undefined,
  };
}

/** What the engine is told of a restore. Relative paths count from the work directory. */
export function restoreOptions(settings: Settings, { imagesDir, workDir }: Directories): RestoreOptions {
  const { pidfile, from, spool, encrypt, lazyPages, autoDedup } = settings;
  if (lazyPages || autoDedup) ARCHIVES.load().requireTogether(settings);
  return {
    from: (from ?? spool ?? encrypt) === undefined ? undefined : ARCHIVES.load().archiveOfRestore(settings),
    writesStats: writesStats(settings),
    imagesDir,
    workDir,
    pidfile: pidfile === undefined || pidfile.startsWith('/') ? pidfile : `${workDir}/${pidfile}`,
    sibling: settings.restoreSibling,
    detached: settings.detached,
    verify: settings.verify,
    leaveStopped: settings.finalState === 'stopped',
    lazyPages,
    autoDedup,
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
