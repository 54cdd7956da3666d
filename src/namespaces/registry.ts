/**
 * The list of all types of namespaces that are carried. A new one needs a folder and a line here.
 *
 * A process enters its namespaces in this order, and what is in them is made again in this order: user namespaces own
 * the others.
 */
import type { NamespaceKind } from '../contract/contract.ts';
import { cgroupNamespaces } from './cgroup/kind.ts';
import { ipcNamespaces } from './ipc/kind.ts';
import { mntNamespace } from './mnt/kind.ts';
import { netNamespace } from './net/kind.ts';
import { pidNamespace } from './pid/kind.ts';
import { userNamespaces } from './user/kind.ts';
import { utsNamespaces } from './uts/kind.ts';

export const namespaceKinds: readonly NamespaceKind[] = [
  userNamespaces,
  pidNamespace,
  netNamespace,
  ipcNamespaces,
  utsNamespaces,
  mntNamespace,
  cgroupNamespaces,
];
