/**
 * The settings of devices at a dump: some 170 files of /proc/sys/net for each. What most of them say the kernel tells
 * of all devices in two lists as well, as numbers by the places that the settings have there. Which setting is at
 * which place differs between kernels; but devices of which the kernel tells the same have the same settings, and so
 * only the files of one of them are read.
 */
import type { SysctlEntry } from '../../images/schema/network.ts';
import { IFLA, IFLA_INET_CONF, IFLA_INET6_CONF, NDTA_PARMS, NDTPA } from '../../kernel/constants/rtnetlink.ts';
import { AF } from '../../kernel/constants/sockets.ts';
import { Rtgenmsg } from '../../kernel/layouts/rtnetlink.ts';
import { decodeAttributes } from '../../kernel/netlink/attributes.ts';
import { attributesOf, u32Of } from '../../kernel/netlink/rtnetlink.ts';
import type { Link } from './links.ts';
import type { NetworkView } from './look.ts';
import { TEXTS } from './sysctl-names.ts';
import { confPath, FAMILIES, type Family, readConf, readOtherConf, readSetting } from './sysctls.ts';

const NONE = new Uint8Array();

/** What one device has, as far as the kernel tells it in lists. */
type Signature = string;

/** Reads the settings of devices, from inside of their network namespace. */
export class DeviceSettings {
  /** The device whose files are read, by the name of each. */
  readonly #models = new Map<string, string>();
  readonly #confs = new Map<string, SysctlEntry[]>();
  readonly #others = new Map<string, Map<string, string>>();

  /** @throws NetlinkError */
  constructor(links: readonly Link[], view: NetworkView) {
    const neighbours = neighbourSettings(view);
    const first = new Map<Signature, string>();
    for (const link of links) {
      const signature = `${confSignature(link)} ${neighbours.get(link.index) ?? ''}`;
      if (!first.has(signature)) first.set(signature, link.name);
      this.#models.set(link.name, first.get(signature) ?? link.name);
    }
  }

  /** The settings of a device as images have them. */
  conf(family: Family, device: string): SysctlEntry[] {
    const model = this.#models.get(device) ?? device;
    const key = `${family} ${model}`;
    const known = this.#confs.get(key) ?? readConf(family, model);
    this.#confs.set(key, known);
    if (model === device) return known;
    // The kernel tells no secrets in its lists.
    return known.map((entry, i) => {
      const name = FAMILIES[family][i] ?? '';
      return TEXTS.has(name) ? readSetting(confPath(family, device, name), true) : entry;
    });
  }

  /** What a device has besides these, by path. */
  other(device: string): Map<string, string> {
    const model = this.#models.get(device) ?? device;
    const known = this.#others.get(model) ?? readOtherConf(model);
    this.#others.set(model, known);
    if (model === device) return known;
    return new Map([...known].map(([path, value]) => [path.replace(`/${model}/`, `/${device}/`), value]));
  }
}

/** The settings of a device itself (`inet_fill_link_af()`, `ipv6_store_devconf()`). */
function confSignature({ attributes }: Link): Signature {
  const families = decodeAttributes(attributes.get(IFLA.AF_SPEC) ?? NONE);
  const conf = (family: number, attribute: number): Uint8Array =>
    decodeAttributes(families.get(family) ?? NONE).get(attribute) ?? NONE;
  return `${conf(AF.INET, IFLA_INET_CONF).join()} ${conf(AF.INET6, IFLA_INET6_CONF).join()}`;
}

/** What devices have below `neigh`, by their indices (`neightbl_fill_parms()`). */
function neighbourSettings(view: NetworkView): ReadonlyMap<number, Signature> {
  const found = new Map<number, Signature>();
  for (const { payload } of view.neighbourTables()) {
    const { family } = Rtgenmsg.decode(payload);
    const settings = decodeAttributes(attributesOf(Rtgenmsg, payload).get(NDTA_PARMS) ?? NONE);
    const index = u32Of(settings.get(NDTPA.IFINDEX));
    if (index === undefined) continue;
    // How many use them, and what the kernel has drawn by lot.
    for (const volatile of [NDTPA.IFINDEX, NDTPA.REFCNT, NDTPA.REACHABLE_TIME]) settings.delete(volatile);
    const told = [...settings].map(([type, value]) => `${type}=${value.join()}`).join(' ');
    found.set(index, `${found.get(index) ?? ''} ${family}: ${told}`);
  }
  return found;
}
