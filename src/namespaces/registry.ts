/**
 * The list of all types of namespaces that are carried. A new one needs a folder and a line here. What is done with a
 * type is loaded when the first namespace of a tree is met that is not that of Stasis.
 *
 * A process enters its namespaces in this order, and what is in them is made again in this order: user namespaces own
 * the others.
 */
import { Part } from '../base/part.ts';
import type { NamespaceDoors, NamespaceKind, NamespaceName } from '../contract/contract.ts';
import { NAMESPACE_FLAGS } from './inside.ts';

const USER = new Part(() => require('./user/kind.ts') as typeof import('./user/kind.ts'));
const PID = new Part(() => require('./pid/kind.ts') as typeof import('./pid/kind.ts'));
const NET = new Part(() => require('./net/kind.ts') as typeof import('./net/kind.ts'));
const IPC = new Part(() => require('./ipc/kind.ts') as typeof import('./ipc/kind.ts'));
const UTS = new Part(() => require('./uts/kind.ts') as typeof import('./uts/kind.ts'));
const MNT = new Part(() => require('./mnt/kind.ts') as typeof import('./mnt/kind.ts'));
const CGROUP = new Part(() => require('./cgroup/kind.ts') as typeof import('./cgroup/kind.ts'));

export const namespaceKinds: readonly NamespaceKind[] = [
  onDemand('user', () => USER.load().userNamespaces),
  onDemand('pid', () => PID.load().pidNamespace),
  onDemand('net', () => NET.load().netNamespace),
  onDemand('ipc', () => IPC.load().ipcNamespaces),
  onDemand('uts', () => UTS.load().utsNamespaces),
  onDemand('mnt', () => MNT.load().mntNamespace),
  onDemand('cgroup', () => CGROUP.load().cgroupNamespaces),
];

function onDemand(name: NamespaceName, doors: () => NamespaceDoors): NamespaceKind {
  const kind = {
    name,
    flag: NAMESPACE_FLAGS[name],
    get obstacles() {
      return doors().obstacles;
    },
    get notices() {
      return doors().notices;
    },
    get capture() {
      return doors().capture;
    },
    get beforeEntering() {
      return doors().beforeEntering;
    },
    get entered() {
      return doors().entered;
    },
    get rebuild() {
      return doors().rebuild;
    },
    get complete() {
      return doors().complete;
    },
    get finish() {
      return doors().finish;
    },
  };
  return kind as NamespaceKind; // a getter may answer undefined, which is as good as no door
}
