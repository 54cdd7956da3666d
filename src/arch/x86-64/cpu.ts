/**
 * What the processor can do, by cpuid, in the form of `cpuinfo.img`: words of capabilities in the kernel's order
 * (arch/x86/include/asm/cpufeatures.h), of which some bits are the kernel's own.
 */

/** What the processor says of itself. */
export interface CpuFacts {
  readonly vendor: 'intel' | 'amd' | 'other';
  readonly family: number;
  readonly model: number;
  readonly stepping: number;
  readonly modelName: string;
  /** The words of capabilities, as many as version 2 of the image has. */
  readonly words: readonly number[];
  /** The components of the extended state that programs may use, one bit each. */
  readonly state: bigint;
  /** Bytes of the extended state as it is enabled, and as it could be. */
  readonly stateSize: number;
  readonly stateSizeMost: number;
}

const WORDS = 19;
/** How many words there are in an image of a version. */
export const WORDS_OF: Readonly<Record<number, number | undefined>> = { 1: 12, 2: WORDS };

/** What is needed of a program (tracee/program.ts) to ask the processor. */
interface AskingProgram {
  askProcessor(question: number, detail: number, allowed: number): number;
  view(address: number, length: number): DataView;
}

/** The registers of an answer. */
const EAX = 0;
const EBX = 4;
const ECX = 8;
const EDX = 12;

const EXTENDED = 0x8000_0000;

/** Where words come from: leaf, sub-leaf, register. Words that are not here are the kernel's or other vendors'. */
const SOURCES: readonly (readonly [word: number, leaf: number, sub: number, register: number])[] = [
  [0, 1, 0, EDX],
  [1, EXTENDED + 1, 0, EDX],
  [4, 1, 0, ECX],
  [6, EXTENDED + 1, 0, ECX],
  [9, 7, 0, EBX],
  [10, 0xd, 1, EAX],
  [11, 7, 0, ECX],
  [12, 0xf, 1, EDX],
  [13, EXTENDED + 8, 0, EBX],
  [14, 6, 0, EAX],
  [15, EXTENDED + 0xa, 0, EDX],
  [16, 0xf, 0, EDX],
  [17, EXTENDED + 7, 0, EBX],
  [18, 7, 0, EDX],
];

/** The name of the processor: 16 bytes in each. */
const NAME_LEAVES = [EXTENDED + 2, EXTENDED + 3, EXTENDED + 4];

/** Asks for everything, as calls of a program; the function that is returned reads the answers. */
export function askCpu(program: AskingProgram): () => CpuFacts {
  const ask = (leaf: number, sub = 0): number => program.askProcessor(leaf, sub, 1);
  const [basic, extended, first, state] = [ask(0), ask(EXTENDED), ask(1), ask(0xd)];
  const sources = SOURCES.map(([word, leaf, sub, register]) => ({ word, leaf, register, at: ask(leaf, sub) }));
  const name = NAME_LEAVES.map((leaf) => ask(leaf));
  return () => {
    const read = (at: number, register: number): number => program.view(at, 16).getUint32(register, true);
    // A leaf beyond the highest one has the answer of another.
    const highest = { basic: read(basic, EAX), extended: read(extended, EAX) };
    const has = (leaf: number): boolean => leaf <= (leaf >= EXTENDED ? highest.extended : highest.basic);
    const words = new Array<number>(WORDS).fill(0);
    for (const { word, leaf, register, at } of sources) if (has(leaf)) words[word] = read(at, register);
    const vendor = vendorOf([EBX, EDX, ECX].map((register) => read(basic, register)));
    const identity = identityOf(read(first, EAX));
    amend(words, vendor, identity.family);
    return {
      vendor,
      ...identity,
      modelName: has(EXTENDED + 4) ? textOf(name.map((at) => program.view(at, 16))) : '',
      words,
      state: has(0xd) ? stateOf(BigInt(read(state, EAX)), words) : 0n,
      stateSize: has(0xd) ? read(state, EBX) : 0,
      stateSizeMost: has(0xd) ? read(state, ECX) : 0,
    };
  };
}

function vendorOf(registers: readonly number[]): CpuFacts['vendor'] {
  const text = textOf([new DataView(new Uint32Array(registers).buffer)]);
  if (text === 'GenuineIntel') return 'intel';
  return text === 'AuthenticAMD' || text === 'HygonGenuine' ? 'amd' : 'other';
}

function textOf(parts: readonly DataView[]): string {
  const bytes = parts.flatMap((view) => Array.from({ length: view.byteLength }, (_, i) => view.getUint8(i)));
  return String.fromCharCode(...bytes)
    .replace(/\0.*$/s, '')
    .trimStart();
}

/** Family, model and stepping, as the kernel puts them together (arch/x86/lib/cpu.c). */
function identityOf(signature: number): Pick<CpuFacts, 'family' | 'model' | 'stepping'> {
  const base = (signature >>> 8) & 0xf;
  const family = base === 0xf ? base + ((signature >>> 20) & 0xff) : base;
  const model = ((signature >>> 4) & 0xf) + (family >= 6 ? ((signature >>> 16) & 0xf) << 4 : 0);
  return { family, model, stepping: signature & 0xf };
}

/** What the kernel makes of the words. Word 3 is its own: cpuid, nopl, and that repeated string moves are fast. */
function amend(words: number[], vendor: CpuFacts['vendor'], family: number): void {
  const fast = vendor === 'amd' ? family >= 0x10 : family === 6;
  words[3] = ((1 << 25) | (1 << 20) | (fast ? 1 << 16 : 0)) >>> 0;
  // What the cache's monitoring can do is asked for only where there is one.
  if ((((words[16] ?? 0) >>> 1) & 1) === 0) words[12] = 0;
  // Bit 31 has another meaning with AMD, and is told by word 1.
  if (vendor === 'amd') words[0] = ((words[0] ?? 0) & 0x7fff_ffff) >>> 0;
}

/** Components of the extended state, and the capability without which each counts for nothing: word and bit. */
const COMPONENTS: readonly (readonly [component: number, word: number, bit: number])[] = [
  [0, 0, 0], // x87
  [2, 4, 28], // AVX
  [3, 9, 14], // MPX
  [4, 9, 14],
  [5, 9, 16], // AVX-512
  [6, 9, 16],
  [7, 9, 16],
  [9, 11, 3], // protection keys
];

/** SSE is with every processor of 64 bits, and CRIU's mask does not have it. */
function stateOf(enabled: bigint, words: readonly number[]): bigint {
  return COMPONENTS.reduce((mask, [component, word, bit]) => {
    const isThere = (((words[word] ?? 0) >>> bit) & 1) === 1 && (enabled >> BigInt(component)) & 1n;
    return isThere ? mask | (1n << BigInt(component)) : mask;
  }, 0n);
}

/** Instructions that programs use once they have found them, by word and bit. */
export const INSTRUCTIONS: readonly (readonly [word: number, names: Readonly<Record<number, string>>])[] = [
  [
    0,
    {
      0: 'fpu',
      4: 'tsc',
      8: 'cx8',
      11: 'sep',
      15: 'cmov',
      19: 'clflush',
      23: 'mmx',
      24: 'fxsr',
      25: 'sse',
      26: 'sse2',
    },
  ],
  [1, { 11: 'syscall', 22: 'mmxext', 27: 'rdtscp', 30: '3dnowext', 31: '3dnow' }],
  [3, { 16: 'rep_good', 20: 'nopl' }],
  [
    4,
    {
      0: 'sse3',
      1: 'pclmulqdq',
      3: 'mwait',
      9: 'ssse3',
      12: 'fma',
      13: 'cx16',
      19: 'sse4_1',
      20: 'sse4_2',
      22: 'movbe',
      23: 'popcnt',
      25: 'aes',
      26: 'xsave',
      27: 'osxsave',
      28: 'avx',
      29: 'f16c',
      30: 'rdrand',
    },
  ],
  [6, { 5: 'abm', 6: 'sse4a', 7: 'misalignsse', 8: '3dnowprefetch', 11: 'xop', 16: 'fma4', 21: 'tbm' }],
  [
    9,
    {
      0: 'fsgsbase',
      3: 'bmi1',
      4: 'hle',
      5: 'avx2',
      8: 'bmi2',
      9: 'erms',
      11: 'rtm',
      14: 'mpx',
      16: 'avx512f',
      17: 'avx512dq',
      18: 'rdseed',
      19: 'adx',
      21: 'avx512ifma',
      23: 'clflushopt',
      24: 'clwb',
      26: 'avx512pf',
      27: 'avx512er',
      28: 'avx512cd',
      29: 'sha_ni',
      30: 'avx512bw',
      31: 'avx512vl',
    },
  ],
  [10, { 0: 'xsaveopt', 1: 'xsavec', 2: 'xgetbv1' }],
  [
    11,
    {
      1: 'avx512vbmi',
      6: 'avx512_vbmi2',
      8: 'gfni',
      9: 'vaes',
      10: 'vpclmulqdq',
      11: 'avx512_vnni',
      12: 'avx512_bitalg',
      14: 'avx512_vpopcntdq',
      22: 'rdpid',
    },
  ],
  [13, { 0: 'clzero' }],
  [18, { 2: 'avx512_4vnniw', 3: 'avx512_4fmaps' }],
];
