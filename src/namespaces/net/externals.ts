/** What `--external` says of network devices. Pure. */

/** A veth pair whose other end is outside: `veth[IN]:OUT` or `veth[IN]:OUT@BRIDGE`. */
export interface OuterEnd {
  readonly name: string;
  readonly bridge: string | undefined;
}

/** The keys of `--external` that are about network devices, by the name of the device inside. */
export interface ExternalDevices {
  readonly veth: ReadonlyMap<string, OuterEnd>;
  /** The device outside that a device inside is stacked on. */
  readonly macvlan: ReadonlyMap<string, string>;
  /** The name that a device has outside until it is moved inside; empty where it is only known to be external. */
  readonly netdev: ReadonlyMap<string, string>;
}

const KEY = /^(veth|macvlan|netdev)\[([^\]]+)\](?::(.+))?$/;

/** Reads the keys of `--external`. Keys of other types are passed over. */
export function externalDevices(keys: readonly string[]): ExternalDevices {
  const veth = new Map<string, OuterEnd>();
  const macvlan = new Map<string, string>();
  const netdev = new Map<string, string>();
  for (const key of keys) {
    const [, type, inner = '', outer = ''] = KEY.exec(key) ?? [];
    if (type === 'veth' && outer !== '') {
      const [name = '', bridge] = outer.split('@');
      veth.set(inner, { name, bridge });
    } else if (type === 'macvlan' && outer !== '') {
      macvlan.set(inner, outer);
    } else if (type === 'netdev') {
      netdev.set(inner, outer);
    }
  }
  return { veth, macvlan, netdev };
}
