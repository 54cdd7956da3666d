/** UTS namespaces: the names that uname(2) shows. `utsns-N.img` has them. */
import { decodeText, encodeText } from '../../base/text.ts';
import type {
  DumpContext,
  MadeNamespace,
  NamespaceDoors,
  RestoreContext,
  SeenNamespace,
} from '../../contract/contract.ts';
import { ImageError } from '../../images/error.ts';
import { imageName } from '../../images/kind.ts';
import { Images } from '../../images/kinds.ts';
import type { UtsnsEntry } from '../../images/schema/namespaces.ts';
import { Utsname } from '../../kernel/layouts/tasks.ts';
import { SyscallError, syscall, trySyscall } from '../../kernel/syscall.ts';
import { inside, insideSeen } from '../inside.ts';

/** The longest name, in bytes (__NEW_UTS_LEN). */
const LONGEST = 64;

/** The names in the UTS namespace that Stasis is in. */
function readNames(): UtsnsEntry {
  const bytes = new Uint8Array(Utsname.size);
  syscall('uname', bytes);
  const { nodename, domainname } = Utsname.decode(bytes);
  return { nodename: untilNul(nodename), domainname: untilNul(domainname) };
}

function untilNul(field: Uint8Array): string {
  const end = field.indexOf(0);
  return decodeText(end < 0 ? field : field.subarray(0, end));
}

function capture(namespace: SeenNamespace, { images }: DumpContext): void {
  images.write(Images.utsns, namespace.id, [insideSeen('uts', namespace, readNames)]);
}

function rebuild({ id, fd }: MadeNamespace, { images }: RestoreContext): void {
  const { nodename, domainname } = images.readOne(Images.utsns, id);
  const bytesOf = (field: keyof UtsnsEntry, name: string): Uint8Array => {
    const bytes = encodeText(name);
    if (bytes.length <= LONGEST) return bytes;
    const reason = `a name of ${bytes.length} bytes; the kernel takes ${LONGEST}`;
    throw new ImageError({ file: imageName(Images.utsns, id), field, reason });
  };
  const [node, domain] = [bytesOf('nodename', nodename), bytesOf('domainname', domainname)];
  inside('uts', fd, () => {
    setName('sethostname', node);
    setName('setdomainname', domain);
  });
}

function setName(call: 'sethostname' | 'setdomainname', name: Uint8Array): void {
  const result = trySyscall(call, name, name.length);
  if (result < 0) throw new SyscallError(call, -result, { resource: 'UTS namespace' });
}

/** Host and domain name. */
export const utsNamespaces: NamespaceDoors = { capture, rebuild };
