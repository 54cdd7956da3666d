/** What the options say of a migration: where to, how, and what the other side is told. */
import { StasisError } from '../base/errors.ts';
import type { Hooks } from '../engine/hooks.ts';
import type { Link } from '../engine/migrate/channel.ts';
import type { MigrateOptions } from '../engine/migrate/source.ts';
import type { TargetOptions } from '../engine/migrate/target.ts';
import { AF, SOCK } from '../kernel/constants/sockets.ts';
import { socketPair } from '../kernel/sockets.ts';
import { connectWith } from '../memory/page-server/client.ts';
import { sockaddrOfEnd } from '../network/end-fields.ts';
import { parseInetAddress } from '../network/inet-address.ts';
import type { TlsOptions } from '../support/transport/tls.ts';
import { Workers } from '../support/workers.ts';
import { carryOptions, dumpOptions, hooksOf, preDumpOptions, restoreOptions } from './engine-options.ts';
import { tlsOf } from './page-server-place.ts';
import { settingsFor } from './program-settings.ts';
import { defaultSettings, type Settings } from './settings.ts';
import { STASIS_VERSION } from './version.ts';

/** A host and a port, as `--to` and `--listen` have them. */
export interface Place {
  readonly host: string;
  readonly port: number;
}

/** Reads HOST:PORT; an address of IPv6 is in brackets. @throws StasisError (usage) */
export function placeNamed(text: string, option: string): Place {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host !== undefined && Number(port) <= 65_535) return { host: host || '0.0.0.0', port: Number(port) };
  throw usage(option, `${text} names no host and port`, 'write HOST:PORT, as in 192.0.2.1:7000 or [2001:db8::1]:7000');
}

/** The address of a place as connect(2) and bind(2) take it; its host is an address. @throws StasisError (usage) */
export function sockaddrOfPlace({ host, port }: Place, option: string): Uint8Array {
  const address = parseInetAddress(host);
  if (!address) throw usage(option, `no host called ${host} is known`, 'give its address');
  return sockaddrOfEnd({ address, port: Uint8Array.of(port >> 8, port & 0xff) });
}

/** @throws StasisError (usage) for a connection over a network that anybody could read, or be the other end of */
export function requireTrust({ host }: Place, { tls, insecure }: Settings, option: string): void {
  if (tls || insecure || host === '::1' || host.startsWith('127.')) return;
  const reason = `without TLS, anybody on the way could read the memory of programs, or bring some of their own`;
  throw usage(option, reason, 'add --tls, with certificates at both sides; or --insecure in a network that you trust');
}

/** How to connect with the target; it can be done again. `host` is an address by now, `asked` what was asked for. */
export function connector(settings: Settings, place: Place, asked: string): () => Link {
  const files = tlsOf({ ...settings, hostName: asked });
  const tls: TlsOptions | undefined = files && { ...files, toPageServer: false };
  const sockaddr = sockaddrOfPlace(place, '--to');
  const name = settings.to ?? '';
  return () => {
    try {
      const { socket, own, whyEnded } = connectWith({ sockaddr, name, tls });
      return { socket, name, whyEnded, [Symbol.dispose]: () => own?.[Symbol.dispose]() };
    } catch (error) {
      if (!(error instanceof StasisError) || error.code !== 'PAGE_SERVER_UNREACHABLE') throw error;
      const { reason } = error;
      const remedy = `start it there first: stasis service --listen :${place.port}`;
      throw new StasisError({ kind: 'io', code: 'PEER_UNREACHABLE', resource: name, reason, remedy });
    }
  };
}

/** How to have Stasis started on the other machine by ssh(1), or what stands for it. */
export function sshConnector({ ssh = '', sshCommand }: Settings): () => Link {
  const words = [...sshCommand.split(/\s+/).filter((word) => word !== ''), ssh, 'stasis', 'service', '--listen', '-'];
  return () => {
    const [own, theirs] = socketPair(AF.UNIX, SOCK.STREAM);
    using _ = theirs;
    using workers = new Workers('waited for');
    workers.startOther(words, theirs.number);
    return { socket: own.number, name: ssh, [Symbol.dispose]: () => own[Symbol.dispose]() };
  };
}

/**
 * Settings of a restore that the source decides about. `autoExtMounts` is a part of --ext-mount-map that has no option
 * of its own.
 */
const OF_RESTORE = [
  ...['shellJob', 'fileLocks', 'linkRemap', 'evasiveDevices', 'fileValidation', 'skipFileRwxCheck', 'extUnixSk'],
  ...['unixPeer', 'inetAddrMap', 'tcpEstablished', 'tcpClose', 'skipInFlight', 'networkLock', 'external', 'root'],
  ...['skipMnt', 'enableFs', 'extMountMap', 'weakSysctls', 'manageCgroups', 'cgroupRoot', 'cgroupYard', 'lsmProfile'],
] as readonly (keyof Settings)[];

/** What a migration is told. @throws StasisError (usage) */
export function migrateOptions(settings: Settings, connect: () => Link): MigrateOptions {
  if (settings.networkLock === 'iptables') {
    throw usage(
      '--network-lock iptables',
      'a migration lifts its lock by itself, which only nftables lets it',
      'leave it out',
    );
  }
  const nowhere = { imagesDir: '', workDir: '' };
  const defaults = defaultSettings();
  const differs = (key: keyof Settings): boolean => JSON.stringify(settings[key]) !== JSON.stringify(defaults[key]);
  const told = Object.fromEntries(OF_RESTORE.filter(differs).map((key) => [key, settings[key]]));
  const plain = { ...settings, to: undefined, finalState: 'dead', workDir: undefined } as const;
  const dump = dumpOptions(plain, nowhere);
  return {
    pid: dump.pid,
    preDump: preDumpOptions(plain, nowhere),
    dump: { ...dump, writesStats: false, trackMem: false },
    restore: { ...told, ...(settings.autoExtMounts ? { autoExtMounts: true } : {}) },
    version: STASIS_VERSION,
    rounds: settings.rounds,
    small: settings.lastRound,
    checkFiles: settings.checkFiles,
    connect,
  };
}

/** How this side takes trees: `more` are the hooks of the face. */
export function targetOptions(settings: Settings, more: Hooks): TargetOptions {
  return {
    version: STASIS_VERSION,
    lateAddresses: settings.actionScript.length > 0,
    restore: ({ autoExtMounts, ...options }, imagesDir) => {
      const wanted: Settings = {
        ...settingsFor('restore', options),
        actionScript: settings.actionScript,
        autoExtMounts: autoExtMounts === true,
        detached: true,
      };
      const directories = { imagesDir, workDir: imagesDir };
      return {
        options: { ...restoreOptions(wanted, directories), writesStats: false, carry: carryOptions(wanted) },
        hooks: hooksOf(wanted, directories, more),
        cpu: wanted.cpuCap,
      };
    },
  };
}

function usage(resource: string, reason: string, remedy: string): StasisError {
  return new StasisError({ kind: 'usage', resource, reason, remedy });
}
