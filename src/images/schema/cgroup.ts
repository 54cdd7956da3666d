/** Control groups. */

import {
  bool,
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

/** Mode and owner of a cgroup directory or file. */
export const cgroupPerms = message('cgroup_perms', () => ({
  mode: uint32(1),
  uid: uint32(2),
  gid: uint32(3),
}));
export type CgroupPerms = TypeOf<typeof cgroupPerms>;

/** A control file and its content. */
export const cgroupPropEntry = message('cgroup_prop_entry', () => ({
  name: text(1),
  value: text(2),
  perms: optional(nested(3, cgroupPerms)),
}));
export type CgroupPropEntry = TypeOf<typeof cgroupPropEntry>;

/** The fields of {@link cgroupDirEntry}; spelled out because the message contains itself. */
type CgroupDirEntryShape = {
  readonly dir_name: Field<string, string, 'required'>;
  readonly children: Field<CgroupDirEntry, CgroupDirEntryInput, 'repeated'>;
  readonly properties: Field<CgroupPropEntry, InputOf<typeof cgroupPropEntry>, 'repeated'>;
  readonly dir_perms: Field<CgroupPerms, InputOf<typeof cgroupPerms>, 'optional'>;
};
/** A cgroup directory with all below it. */
export interface CgroupDirEntry extends OutOf<CgroupDirEntryShape> {}
export interface CgroupDirEntryInput extends InOf<CgroupDirEntryShape> {}
/** A cgroup directory with all below it. */
export const cgroupDirEntry: Message<CgroupDirEntryShape> = message('cgroup_dir_entry', () => ({
  dir_name: text(1),
  children: repeated(nested(2, cgroupDirEntry)),
  properties: repeated(nested(3, cgroupPropEntry)),
  dir_perms: optional(nested(4, cgroupPerms)),
}));

/** One hierarchy: the controllers it carries, its directories. */
export const cgControllerEntry = message('cg_controller_entry', () => ({
  cnames: repeated(text(1)),
  dirs: repeated(nested(2, cgroupDirEntry)),
  is_threaded: optional(bool(3)),
}));
export type CgControllerEntry = TypeOf<typeof cgControllerEntry>;

/** A task's place in one hierarchy. */
export const cgMemberEntry = message('cg_member_entry', () => ({
  name: text(1),
  path: text(2),
  cgns_prefix: optional(uint32(3)),
}));
export type CgMemberEntry = TypeOf<typeof cgMemberEntry>;

/** The places of a task in all hierarchies; tasks in the same places share a set. */
export const cgSetEntry = message('cg_set_entry', () => ({
  id: uint32(1),
  ctls: repeated(nested(2, cgMemberEntry)),
}));
export type CgSetEntry = TypeOf<typeof cgSetEntry>;

/** `cgroup.img`. */
export const cgroupEntry = message('cgroup_entry', () => ({
  sets: repeated(nested(1, cgSetEntry)),
  controllers: repeated(nested(2, cgControllerEntry)),
}));
export type CgroupEntry = TypeOf<typeof cgroupEntry>;
