/** Two hosts on one network, for demonstrations: network namespaces on a bridge, and an address that moves along. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Of the server, whichever host it is on: as of a virtual machine, the address of the device moves along. */
const MAC = '02:57:a5:15:00:01';

/** Runs a command that must succeed. Returns what it has printed. */
export function must(command, ...args) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? stderr.trim()}`);
  return stdout;
}

/**
 * A command and its arguments, in the network of a host; of this machine without one. ip-netns(8) would make a mount
 * namespace as well.
 */
export function inHost(host, command, ...args) {
  return host ? ['nsenter', [`--net=/run/netns/${host}`, command, ...args]] : [command, args];
}

/**
 * Makes two hosts and a bridge that is called as given; on it this machine has address 254 of the network `prefix`.
 * What takes all that away again is put into `cleanups`, a list of functions to be called from the last to the first.
 */
export function makeHosts(bridge, prefix, cleanups) {
  must('ip', 'link', 'add', bridge, 'type', 'bridge');
  cleanups.push(() => spawnSync('ip', ['link', 'del', bridge]));
  must('ip', 'addr', 'add', `${prefix}.254/24`, 'dev', bridge);
  must('ip', 'link', 'set', bridge, 'up');
  const hosts = [`${bridge}-1`, `${bridge}-2`];
  for (const [i, host] of hosts.entries()) {
    must('ip', 'netns', 'add', host);
    cleanups.push(() => spawnSync('ip', ['netns', 'del', host]));
    // The kernel takes a namespace apart a moment after it is deleted.
    cleanups.push(() => spawnSync('ip', ['link', 'del', `${bridge}${i}`]));
    must('ip', 'link', 'add', `${bridge}${i}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', host);
    must('ip', 'link', 'set', `${bridge}${i}`, 'master', bridge, 'up');
    must('ip', '-n', host, 'link', 'set', 'lo', 'up');
  }
  return hosts;
}

/** The commands that give a host the server's address. */
const giving = (host, address) => [
  ['ip', '-n', host, 'link', 'set', 'eth0', 'address', MAC, 'up'],
  ['ip', '-n', host, 'address', 'add', `${address}/24`, 'dev', 'eth0'],
];

/** Gives a host the server's address. */
export function giveAddress(host, address) {
  for (const command of giving(host, address)) must(...command);
}

/**
 * Options for a restore that give a host the server's address when the network lock is there: a host that has the
 * address and neither the connections nor the lock answers their peers with RST, and they are lost. The script is
 * written into `dir`.
 */
export function bringingAddress(dir, host, address) {
  const script = join(dir, 'bring-address');
  const commands = giving(host, address).map((command) => command.join(' '));
  const lines = ['#!/bin/sh', 'test "$CRTOOLS_SCRIPT_ACTION" = pre-restore || exit 0', commands.join(' && '), ''];
  writeFileSync(script, lines.join('\n'), { mode: 0o755 });
  return ['--action-script', script];
}

/** Takes the server's address away from a host. */
export function takeAddress(host) {
  must('ip', '-n', host, 'address', 'flush', 'dev', 'eth0');
  must('ip', '-n', host, 'link', 'set', 'eth0', 'down');
}
