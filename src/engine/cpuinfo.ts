/**
 * `cpuinfo dump` and `cpuinfo check`: what the processor of one machine can do, and whether that of another can do it
 * as well. Programs ask the processor once, at their start, and go on using what they have found.
 */
import { thisArch } from '../arch/index.ts';
import { StasisError } from '../base/errors.ts';
import { encodeImage } from '../images/image.ts';
import { ImageSet } from '../images/image-set.ts';
import { imageName } from '../images/kind.ts';
import { Images } from '../images/kinds.ts';
import { type CpuinfoX86Entry, Vendor } from '../images/schema/cpuinfo.ts';
import { O } from '../kernel/constants/files.ts';
import { disk } from '../kernel/disk.ts';
import { DetachedProcess } from '../tracee/detached.ts';

/** Which facts must agree: see `CpuCap` of the settings. */
export interface CpuDemand {
  readonly fpu: boolean;
  readonly ins: boolean;
  readonly cpu: boolean;
}

type CpuFacts = ReturnType<typeof ownFacts>;

const VENDORS: Readonly<Record<CpuFacts['vendor'], number>> = { intel: Vendor.INTEL, amd: Vendor.AMD, other: 0 };
const FILE = imageName(Images.cpuinfo);

/** Writes what this processor can do into `cpuinfo.img`. @throws StasisError */
export function saveCpuInfo(imagesDir: string): void {
  const facts = ownFacts();
  const x86: CpuinfoX86Entry = {
    vendor_id: VENDORS[facts.vendor],
    cpu_family: facts.family,
    model: facts.model,
    stepping: facts.stepping,
    capability_ver: 2,
    capability: [...facts.words],
    ...(facts.modelName === '' ? {} : { model_id: facts.modelName }),
    xfeatures_mask: facts.state,
    xsave_size: facts.stateSize,
    xsave_size_max: facts.stateSizeMost,
  };
  const entry = { message: { x86_entry: [x86], ppc64_entry: [], s390_entry: [] } };
  const fd = disk.open(`${imagesDir}/${FILE}`, O.WRONLY | O.CREAT | O.TRUNC, 0o600);
  disk.write(fd, encodeImage(Images.cpuinfo, [entry]));
  disk.close(fd);
}

/**
 * What this processor lacks of what `cpuinfo.img` tells, each as a piece of a sentence.
 *
 * @throws StasisError (image) if there is no such image, or it is of another architecture or damaged
 */
export function lackingOf(imagesDir: string, demand: CpuDemand): string[] {
  const { x86_entry: entries } = new ImageSet(imagesDir, undefined, disk).readOne(Images.cpuinfo);
  const [saved, ...more] = entries;
  if (!saved || more.length > 0) throw damaged('it tells of no x86 processor, or of several');
  const words = wordsOf(saved);
  const own = ownFacts();
  const lacking: string[] = [];
  if (demand.fpu) lacking.push(...lackingState(saved, own));
  if (demand.ins) lacking.push(...lackingInstructions(words, own.words));
  if (demand.cpu && words.some((word, i) => word !== own.words[i])) lacking.push('capabilities that are all the same');
  return lacking;
}

/** What this processor can do. */
function ownFacts() {
  using detached = new DetachedProcess();
  const program = detached.program();
  const facts = thisArch().processor.ask(program);
  detached.run(program);
  return facts();
}

/** The words of an image; those that version 1 does not have are taken to be ours. */
function wordsOf({ capability, capability_ver: version }: CpuinfoX86Entry): readonly number[] {
  const expected = thisArch().processor.wordsOf[version];
  if (expected === undefined) throw damaged(`version ${version} of its capabilities is not known`);
  if (capability.length !== expected) throw damaged(`${capability.length} words of capabilities, not ${expected}`);
  return capability;
}

function damaged(reason: string): StasisError {
  return new StasisError({ kind: 'image', resource: FILE, reason, remedy: 'write it again: cpuinfo dump' });
}

/** The extended state: its components, and its size, which programs may have asked for. */
function lackingState(saved: CpuinfoX86Entry, own: CpuFacts): string[] {
  const lacking: string[] = [];
  const components = (saved.xfeatures_mask ?? own.state) & ~own.state;
  if (components !== 0n) lacking.push(`components of the extended state (0x${components.toString(16)})`);
  const { xsave_size: size = own.stateSize, xsave_size_max: most = own.stateSizeMost } = saved;
  if (size !== own.stateSize) lacking.push(`an extended state of ${size} bytes (it has ${own.stateSize})`);
  if (most !== own.stateSizeMost) lacking.push(`an extended state of at most ${most} bytes (${own.stateSizeMost})`);
  return lacking;
}

function lackingInstructions(words: readonly number[], own: readonly number[]): string[] {
  return thisArch().processor.instructions.flatMap(([word, names]) => {
    const missing = (words[word] ?? 0) & ~(own[word] ?? 0);
    return Object.entries(names).flatMap(([bit, name]) => ((missing >>> Number(bit)) & 1 ? [name] : []));
  });
}
