/** Opening files again: what is checked, what is said when a file is not the one that was saved, what is never done. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StasisError } from '../../../src/base/errors.ts';
import type { RestoreContext } from '../../../src/contract/contract.ts';
import { SlotStore } from '../../../src/contract/slots.ts';
import { ImageSet } from '../../../src/images/image-set.ts';
import { ImageSetWriter } from '../../../src/images/image-set-writer.ts';
import { Images } from '../../../src/images/kinds.ts';
import type { FileEntry, RegFileEntry, RemapFilePathEntry } from '../../../src/images/schema/files.ts';
import { O } from '../../../src/kernel/constants/files.ts';
import { arenaPath, Fd, syscall } from '../../../src/kernel/syscall.ts';
import { openRegular } from '../../../src/paths/open-regfile.ts';
import { OUR_IDS } from '../../../src/support/user-ids.ts';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'stasis-open-'));
});
afterAll(() => rmSync(dir, { recursive: true }));

const NOBODY = { uid: 0, euid: 0, signum: 0, pid_type: 0, pid: 0 };

function entry(name: string, more: Partial<RegFileEntry> = {}): RegFileEntry {
  return { id: 1, flags: O.RDONLY, pos: 0n, fown: NOBODY, name: join(dir, name), build_id: [], ...more };
}

/** A restore that knows these files and images, as far as opening needs it. */
function context(options: Partial<RestoreContext['options']> = {}, files: FileEntry[] = [], images = dir) {
  const ends: (() => void)[] = [];
  const made: Partial<RestoreContext> = {
    options: {
      ...{ shellJob: false, fileLocks: false, linkRemap: false, evasiveDevices: false, ghostLimit: 1 << 20 },
      ...{
        fileValidation: 'buildid',
        skipFileRwxCheck: false,
        external: [],
        inheritFd: new Map(),
        leaveRunning: false,
      },
      ...options,
    } as RestoreContext['options'],
    images: new ImageSet(images),
    fileEntries: new Map(files.map((file) => [file.id, file])),
    ids: OUR_IDS,
    slots: new SlotStore(),
    undo: () => undefined,
    atEnd: (work) => ends.push(work),
  };
  return { made: made as RestoreContext, end: () => ends.forEach((work) => void work()) };
}

function opening(wanted: RegFileEntry, options: Partial<RestoreContext['options']> = {}): Fd {
  return new Fd(openRegular(wanted, context(options).made));
}

function complaint(wanted: RegFileEntry, options: Partial<RestoreContext['options']> = {}): StasisError {
  try {
    using _fd = opening(wanted, options);
  } catch (error) {
    if (error instanceof StasisError) return error;
    throw error;
  }
  throw new Error('it was opened');
}

describe('a file that is not the one that was saved', () => {
  test('is named, with both values', () => {
    writeFileSync(join(dir, 'size'), '12345');
    const error = complaint(entry('size', { size: 4n, mode: 0o100644 }));
    expect(error.kind).toBe('conflict');
    expect(error.resource).toBe(join(dir, 'size'));
    expect(error.reason).toContain('has 5 bytes, and had 4');
  });

  test('by its mode, unless permissions do not matter', () => {
    writeFileSync(join(dir, 'mode'), '');
    chmodSync(join(dir, 'mode'), 0o600);
    const wanted = entry('mode', { mode: 0o100644 });
    expect(complaint(wanted).reason).toContain('mode 0100600, and had 0100644');
    expect(complaint(wanted).remedy).toContain('--skip-file-rwx-check');
    using _fd = opening(wanted, { skipFileRwxCheck: true });
    mkdirSync(join(dir, 'directory'));
    expect(complaint(entry('directory', { mode: 0o100644 }), { skipFileRwxCheck: true }).reason).toContain('mode 040');
  });

  test('by its build-id, unless only the size matters', () => {
    const size = BigInt(statSync('/bin/sleep').size);
    const program = { ...entry('x'), name: '/bin/sleep', size, build_id: [1, 2, 0x030405ff] };
    expect(complaint(program).reason).toMatch(/has build-id [0-9a-f]{20,}, and had 0100000002000000ff050403 when/);
    using _fd = opening(program, { fileValidation: 'filesize' });
  });

  test('is missing', () => {
    expect(complaint(entry('nowhere')).kind).toBe('conflict');
    expect(complaint(entry('nowhere')).reason).toContain('no such file any more');
    expect(complaint(entry('mode/below')).kind).toBe('conflict');
  });

  test('is a FIFO now: nobody waits for a writer', () => {
    syscall('mknodat', -100, arenaPath(join(dir, 'fifo')), 0o010644, 0);
    expect(complaint(entry('fifo', { mode: 0o100644 })).reason).toContain('mode 010644');
  });

  test('runs now, and was open for writing', () => {
    const copy = join(dir, 'program');
    writeFileSync(copy, readFileSync('/bin/sleep'), { mode: 0o755 });
    const child = Bun.spawn([copy, '30']);
    try {
      expect(complaint(entry('program', { flags: O.WRONLY })).reason).toContain('is being executed now');
    } finally {
      child.kill();
    }
  });
});

describe('opening', () => {
  test('never creates, truncates or follows', () => {
    writeFileSync(join(dir, 'kept'), 'content');
    using _fd = opening(entry('kept', { flags: O.RDWR | O.CREAT | O.TRUNC | O.EXCL | O.NOCTTY }));
    expect(readFileSync(join(dir, 'kept'), 'utf8')).toBe('content');
    complaint(entry('not made', { flags: O.RDWR | O.CREAT }));
    expect(existsSync(join(dir, 'not made'))).toBe(false);
    symlinkSync('kept', join(dir, 'link'));
    using link = opening(entry('link', { flags: O.PATH | O.NOFOLLOW, mode: 0o120777 }));
    expect(readlinkSync(`/proc/self/fd/${link.number}`)).toBe(join(dir, 'link'));
  });

  test('has the flags and the position that were saved', () => {
    writeFileSync(join(dir, 'flags'), 'x'.repeat(100));
    const flags = O.RDWR | O.APPEND | O.NOATIME | O.LARGEFILE;
    using fd = opening(entry('flags', { flags, pos: 77n }));
    expect(syscall('fcntl', fd.number, 3)).toBe(flags);
    expect(syscall('lseek', fd.number, 0, 1)).toBe(77);
  });

  test('of an inherited file takes what was given', () => {
    writeFileSync(join(dir, 'given'), 'given');
    using given = opening(entry('given'));
    const key = join(dir, 'asked').slice(1);
    using fd = opening(entry('asked', { size: 99n }), { inheritFd: new Map([[key, given.number]]) });
    expect(readlinkSync(`/proc/self/fd/${fd.number}`)).toBe(join(dir, 'given'));
    expect(complaint(entry('x', { ext: true, name: 'file[1:2]' })).remedy).toContain('--inherit-fd');
  });
});

describe('files without a name', () => {
  /** Images with remaps and ghosts. */
  function images(remaps: RemapFilePathEntry[], ghost?: { mode: number; content: string }): string {
    const folder = mkdtempSync(join(dir, 'images-'));
    const writer = new ImageSetWriter(folder);
    writer.write(Images.remapFpath, undefined, remaps);
    if (ghost) {
      const message = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, mode: ghost.mode };
      writer.writeHeaded(Images.ghostFile, 7, { message, payload: new TextEncoder().encode(ghost.content) }, []);
    }
    return folder;
  }
  const file = (id: number, reg: RegFileEntry): FileEntry => ({ type: 1, id, reg: { ...reg, id } });

  test('are one file under all their names, and leave nothing behind', () => {
    const place = mkdtempSync(join(dir, 'place-'));
    const a = file(1, { ...entry('x'), name: `${place}/gone/for ever/a`, flags: O.RDWR, mode: 0o100600 });
    const b = file(2, { ...entry('x'), name: `${place}/b`, flags: O.RDONLY | O.NOFOLLOW, size: 3n });
    const remaps = [1, 2].map((orig_id) => ({ orig_id, remap_id: 7, remap_type: 1 as const }));
    const { made, end } = context({}, [a, b], images(remaps, { mode: 0o100600, content: 'boo' }));
    using one = new Fd(openRegular(a.reg as RegFileEntry, made));
    using two = new Fd(openRegular(b.reg as RegFileEntry, made));
    using three = new Fd(openRegular(a.reg as RegFileEntry, made, O.RDONLY));
    end();
    expect(readdirSync(place)).toEqual([]);
    const links = [one, two, three].map((fd) => readlinkSync(`/proc/self/fd/${fd.number}`));
    expect(links).toEqual([`${place}/gone/for ever/a (deleted)`, `${place}/b (deleted)`, links[0] as string]);
    const inodes = [one, two, three].map((fd) => statSync(`/proc/self/fd/${fd.number}`).ino);
    expect(new Set(inodes).size).toBe(1);
    expect(readFileSync(`/proc/self/fd/${two.number}`, 'utf8')).toBe('boo');
  });

  test('live beside what has their name now', () => {
    const place = mkdtempSync(join(dir, 'place-'));
    writeFileSync(`${place}/taken`, 'the new one');
    const a = file(1, { ...entry('x'), name: `${place}/taken` });
    const folder = images([{ orig_id: 1, remap_id: 7, remap_type: 1 }], { mode: 0o100600, content: 'old' });
    const { made, end } = context({}, [a], folder);
    using fd = new Fd(openRegular(a.reg as RegFileEntry, made));
    end();
    expect(readFileSync(`/proc/self/fd/${fd.number}`, 'utf8')).toBe('old');
    expect(readFileSync(`${place}/taken`, 'utf8')).toBe('the new one');
    expect(readdirSync(place)).toEqual(['taken']);
  });

  test('with a link made by the dump get their name for a moment', () => {
    const place = mkdtempSync(join(dir, 'place-'));
    writeFileSync(`${place}/elsewhere`, 'linked');
    linkSync(`${place}/elsewhere`, `${place}/link_remap.2`);
    const a = file(1, { ...entry('x'), name: `${place}/a`, size: 6n });
    const link = file(2, { ...entry('x'), name: `${place}/link_remap.2` });
    const { made, end } = context({}, [a, link], images([{ orig_id: 1, remap_id: 2, remap_type: 0 }]));
    using fd = new Fd(openRegular(a.reg as RegFileEntry, made));
    expect(readlinkSync(`/proc/self/fd/${fd.number}`)).toBe(`${place}/a (deleted)`);
    end();
    expect(readdirSync(place)).toEqual(['elsewhere']);
    unlinkSync(`${place}/elsewhere`);
  });

  test('that refer to nothing are damaged images', () => {
    const a = file(1, entry('x'));
    const missing = context({}, [a], images([{ orig_id: 1, remap_id: 99, remap_type: 0 }]));
    expect(() => openRegular(a.reg as RegFileEntry, missing.made)).toThrow('remapped to 99');
    const ghost = context({}, [a], images([{ orig_id: 1, remap_id: 8, remap_type: 1 }]));
    expect(() => openRegular(a.reg as RegFileEntry, ghost.made)).toThrow('missing');
    expect(existsSync(join(dir, 'x'))).toBe(false);
  });
});
