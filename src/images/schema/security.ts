/** Seccomp filters and AppArmor policies. */

import {
  bytes,
  type Field,
  type InOf,
  type InputOf,
  type Message,
  message,
  nested,
  type OutOf,
  optional,
  repeated,
  type TypeOf,
  text,
  uint32,
} from '../message.ts';

/** One BPF filter; `prev` is the index of the filter to be installed after it, whatever its name says. */
export const seccompFilter = message('seccomp_filter', () => ({
  filter: bytes(1),
  prev: optional(uint32(2)),
  flags: optional(uint32(3)),
}));
export type SeccompFilter = TypeOf<typeof seccompFilter>;

/** `seccomp.img`: each filter once, however many threads share it. */
export const seccompEntry = message('seccomp_entry', () => ({
  seccomp_filters: repeated(nested(1, seccompFilter)),
}));
export type SeccompEntry = TypeOf<typeof seccompEntry>;

/** One AppArmor policy, as the kernel gives it. */
export const aaPolicy = message('aa_policy', () => ({
  name: text(1),
  blob: bytes(2),
}));
export type AaPolicy = TypeOf<typeof aaPolicy>;

/** The fields of {@link aaNamespace}; spelled out because the message contains itself. */
type AaNamespaceShape = {
  readonly name: Field<string, string, 'required'>;
  readonly policies: Field<AaPolicy, InputOf<typeof aaPolicy>, 'repeated'>;
  readonly namespaces: Field<AaNamespace, AaNamespaceInput, 'repeated'>;
};
/** An AppArmor namespace: its policies, and the namespaces in it. */
export interface AaNamespace extends OutOf<AaNamespaceShape> {}
export interface AaNamespaceInput extends InOf<AaNamespaceShape> {}
/** An AppArmor namespace: its policies, and the namespaces in it. */
export const aaNamespace: Message<AaNamespaceShape> = message('aa_namespace', () => ({
  name: text(1),
  policies: repeated(nested(2, aaPolicy)),
  namespaces: repeated(nested(3, aaNamespace)),
}));

/** `apparmor.img`: the AppArmor namespaces of the dumped tasks. */
export const apparmorEntry = message('apparmor_entry', () => ({
  namespaces: repeated(nested(1, aaNamespace)),
}));
export type ApparmorEntry = TypeOf<typeof apparmorEntry>;
