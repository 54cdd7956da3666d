/** `crit x`: what the images of a folder hold together: the process tree, its descriptors, mappings, stored pages. */

import { addTo } from '../base/lists.ts';
import { ImageSet } from '../images/image-set.ts';
import { encodeQuoted } from '../images/quoted-printable.ts';
import { fileTypeName, SavedTree } from '../images/saved-tree.ts';
import { FdTypes } from '../images/schema/files.ts';
import type { MmEntry, VmaEntry } from '../images/schema/memory.ts';
import { VmaStatus } from '../images/schema/memory.ts';
import type { PstreeEntry } from '../images/schema/tree.ts';
import type { UnknownFieldReporter } from '../images/wire.ts';
import { IMAGE_PAGE_SIZE } from '../images/wire.ts';
import { MAP } from '../kernel/constants/memory.ts';

/** What can be asked for. */
export const VIEWS = ['ps', 'fds', 'mems', 'rss'] as const;

type View = (typeof VIEWS)[number];

/** Whether this names one of {@link VIEWS}. */
export function isView(name: string): name is View {
  return (VIEWS as readonly string[]).includes(name);
}

/** Prints a view of the images in `dir`. Throws ImageError for missing and damaged images. */
export function exploreImages(
  dir: string,
  view: View,
  onUnknown: UnknownFieldReporter,
  print: (text: string) => void,
): void {
  const tree = new SavedTree(new ImageSet(dir, onUnknown));
  const lines = view === 'ps' ? listTree(tree) : listTasks(tree, view);
  for (const line of lines) print(`${line}\n`);
}

function* listTree(tree: SavedTree): Generator<string> {
  const children = new Map<number, PstreeEntry[]>();
  for (const task of tree.processes) addTo(children, task.ppid, task);
  // Children are removed as they are listed, so that the list of a damaged tree with a loop in it ends, too.
  const takeChildren = (pid: number, depth: number) => {
    const taken = (children.get(pid) ?? []).map((task) => ({ task, depth }));
    children.delete(pid);
    return taken.reverse();
  };
  yield `${['PID', 'PGID', 'SID'].map((title) => title.padStart(7)).join('')}   COMM`;
  const ahead = takeChildren(0, 0);
  for (let next = ahead.pop(); next; next = ahead.pop()) {
    const { task, depth } = next;
    const { tc } = tree.core(task.pid);
    const ids = [task.pid, task.pgid, task.sid].map((id) => String(id).padStart(7)).join('');
    yield `${ids}   ${' '.repeat(4 * depth)}${tc?.comm ?? ''}`;
    for (const child of takeChildren(task.pid, depth + 1)) ahead.push(child);
  }
}

function* listTasks(tree: SavedTree, view: 'fds' | 'mems' | 'rss'): Generator<string> {
  const explorer = new Explorer(tree);
  for (const { pid } of tree.processes) {
    yield String(pid);
    for (const line of explorer[view](pid)) yield `\t${line}`;
  }
}

const MAPPED_FILE = VmaStatus.FILE_PRIVATE | VmaStatus.FILE_SHARED;
const PAGE = BigInt(IMAGE_PAGE_SIZE);

/** The views of single tasks; each is empty for a task that has nothing of the kind, as a zombie. */
class Explorer {
  private readonly tree: SavedTree;
  /** The numbers of shared segments, given in the order in which segments are met. */
  private readonly segments = new Map<bigint, number>();

  constructor(tree: SavedTree) {
    this.tree = tree;
  }

  /** Descriptors, working directory and root. */
  *fds(pid: number): Generator<string> {
    for (const { fd, type, id } of this.tree.descriptors(pid)) {
      yield `${String(fd).padStart(7)}: ${this.fileName(type, id)}`;
    }
    const fs = this.tree.directories(pid);
    if (!fs) return;
    yield `    cwd: ${this.fileName(FdTypes.REG, fs.cwd_id)}`;
    yield `   root: ${this.fileName(FdTypes.REG, fs.root_id)}`;
  }

  /** The executable and all mappings. */
  *mems(pid: number): Generator<string> {
    const mm = this.tree.memory(pid);
    if (!mm) return;
    yield `${'exe'.padEnd(36)}    ${this.fileName(FdTypes.REG, mm.exe_file_id)}`;
    for (const vma of mm.vmas) {
      const protection = [vma.prot & 1 ? 'r' : '-', vma.prot & 2 ? 'w' : '-', vma.prot & 4 ? 'x' : '-'].join('');
      const range = `${address(vma.start)}-${address(vma.end)}`;
      yield `${range.padEnd(36)}${protection}${this.mapping(vma)}${vma.status & VmaStatus.REGULAR ? '' : ' *'}`;
    }
  }

  private mapping({ status, flags, shmid, pgoff }: VmaEntry): string {
    if (status & VmaStatus.SYSVIPC) return ` ips[${this.segment(shmid)}]`;
    if (status & VmaStatus.ANON_SHARED) return ` shmem[${this.segment(shmid)}]`;
    if (status & VmaStatus.SOCKET) return ` packet[${this.segment(shmid)}]`;
    if (status & MAPPED_FILE) {
      const offset = pgoff === 0n ? '' : ` + 0x${pgoff.toString(16)}`;
      return ` ${this.fileName(FdTypes.REG, Number(shmid))}${offset}${status & VmaStatus.FILE_SHARED ? ' (s)' : ''}`;
    }
    if (status & VmaStatus.STACK) return ' [stack]';
    if (status & VmaStatus.VSYSCALL) return ' [vsyscall]';
    if (status & VmaStatus.VDSO) return ' [vdso]';
    return flags & MAP.GROWSDOWN ? ' [stack?]' : '';
  }

  private segment(shmid: bigint): string {
    let number = this.segments.get(shmid);
    if (number === undefined) {
      number = this.segments.size + 1;
      this.segments.set(shmid, number);
    }
    return number.toString(16);
  }

  /** The runs of stored pages, each with the mappings it lies in; `~` stands for the mapping of the run before. */
  *rss(pid: number): Generator<string> {
    const mm = this.tree.memory(pid);
    const map = this.tree.pages(pid);
    if (!mm || !map) return;
    let next = 0;
    let shown: VmaEntry | undefined;
    for (const run of map.runs) {
      const start = BigInt(run.start);
      const end = start + BigInt(run.pages) * PAGE;
      const within: VmaEntry[] = [];
      while (before(mm, next, start)) next++;
      for (let i = next; i < mm.vmas.length; i++) {
        const vma = mm.vmas[i] as VmaEntry;
        if (vma.start >= end) break;
        within.push(vma);
      }
      const label = `\t${start.toString(16)} / ${String(run.pages).padEnd(8)}`.padEnd(24);
      const columns = within.map((vma) => (vma === shown ? ' ~' : this.residence(vma)));
      shown = within.at(-1) ?? shown;
      yield `${label}${columns.map((column) => `${column}\n\t${' '.repeat(23)}`).join('')}`.slice(1);
    }
  }

  private residence(vma: VmaEntry): string {
    const pages = String((vma.end - vma.start) / PAGE).padEnd(8);
    const file = vma.status & MAPPED_FILE ? ` ${this.fileName(FdTypes.REG, Number(vma.shmid))}` : '';
    return ` ${address(vma.start)} / ${pages}${file}`;
  }

  private fileName(type: number, id: number): string {
    const file = this.tree.file(id);
    if (type === FdTypes.REG) return file?.reg?.name || 'unknown path';
    if (type === FdTypes.PIPE) return `pipe[${file?.pipe ? file.pipe.pipe_id : '?'}]`;
    if (type !== FdTypes.UNIXSK) return `${fileTypeName(type)}.${id}`;
    if (!file?.usk) return 'unix[?]';
    const { ino, peer, name } = file.usk;
    return `unix[${ino} (${peer})${name.length > 0 ? ` ${encodeQuoted(name)}` : ''}]`;
  }
}

/** Whether the mapping at `index` ends at or before `start`. */
function before(mm: MmEntry, index: number, start: bigint): boolean {
  const vma = mm.vmas[index];
  return vma !== undefined && vma.end <= start;
}

function address(value: bigint): string {
  return value.toString(16).padStart(8, '0');
}
