/** JSON as Python prints it, and the pretty forms of numbers. */
import { describe, expect, test } from 'bun:test';
import { decodeBase64, encodeBase64 } from '../../../src/images/base64.ts';
import { imageFromJson, imageToJson } from '../../../src/images/crit-json.ts';
import { parseAddress, parseInteger, parseNumber, showAddress, showNumber } from '../../../src/images/display.ts';
import { ImageError } from '../../../src/images/error.ts';
import { decodeImage, encodeImage } from '../../../src/images/image.ts';
import { type Json, parseJson, printJson } from '../../../src/images/json.ts';
import type { ImageKind } from '../../../src/images/kind.ts';
import { Images } from '../../../src/images/kinds.ts';
import type { Display } from '../../../src/images/message.ts';
import { decodeQuoted, encodeQuoted } from '../../../src/images/quoted-printable.ts';
import { thrownBy } from './fixtures.ts';

describe('JSON', () => {
  test('printed on one line and in many', () => {
    const value: Json = { a: [1, 2n ** 64n, -3], b: {}, c: [], d: 'é"\\\n\u007f\u{1f600}\udcff', e: true, f: null };
    expect(printJson(value)).toBe(
      '{"a": [1, 18446744073709551616, -3], "b": {}, "c": [], "d": "\\u00e9\\"\\\\\\n\\u007f\\ud83d\\ude00\\udcff", "e": true, "f": null}',
    );
    expect(printJson({ a: [1, { b: [] }] }, 2)).toBe('{\n  "a": [\n    1,\n    {\n      "b": []\n    }\n  ]\n}');
  });

  test('parsed without losing a digit', () => {
    const text =
      '{"a": [1, 18446744073709551615, -9223372036854775808], "b": "\\u00e9\\/\\ud83d\\ude00", "__proto__": {}, "": null}';
    const value = parseJson(text, 'x') as Record<string, Json>;
    expect(value.a).toEqual([1, 18446744073709551615n, -9223372036854775808n]);
    expect(value.b).toBe('é/😀');
    expect(Object.keys(value)).toEqual(['a', 'b', '__proto__', '']);
    expect(parseJson(' [ ] ', 'x')).toEqual([]);
    expect(parseJson('1.5e3', 'x')).toBe(1500);
  });

  for (const text of [
    '',
    '{',
    '[1',
    '[1,]',
    '{"a"}',
    '{"a":}',
    '{a: 1}',
    '"abc',
    '"\\x"',
    '01',
    'nul',
    '1 2',
    '[1 2]',
    '+1',
    '"\\',
  ]) {
    test(`refuses ${text}`, () => expect(thrownBy(() => parseJson(text, 'x'))).toBeInstanceOf(ImageError));
  }

  test('refuses nesting without end', () => {
    expect((thrownBy(() => parseJson('['.repeat(100_000), 'x')) as ImageError).reason).toMatch(/nested/);
  });

  test('takes long strings', () => {
    const long = `${'x'.repeat(5_000_000)}\n`;
    expect(parseJson(printJson(long), 'x')).toBe(long);
  });
});

describe('numbers for people', () => {
  const cases: [Display, string, number | bigint, string][] = [
    ['hex', '', 0, '0x0'],
    ['hex', '', 2n ** 64n - 1n, '0xffffffffffffffff'],
    ['mmap.prot', '', 3, 'PROT_READ | PROT_WRITE'],
    ['mmap.prot', '', 0, ''],
    ['mmap.flags', '', 0x122, 'MAP_PRIVATE | MAP_ANON | MAP_GROWSDOWN'],
    ['mmap.flags', '', 0x4022, 'MAP_PRIVATE | MAP_ANON | 0x4000'],
    ['mmap.status', '', 0x80000001, 'VMA_AREA_REGULAR | VMA_UNSUPP'],
    ['rfile.flags', '', 0o100002, 'O_RDWR | O_LARGEFILE'],
    ['dev', '', (8 << 20) | 17, '8:17'],
    ['odev', '', 0x103, '1:3'],
    ['odev', '', 0x12345678, '1110:74616'],
    ['gen', 'task_state', 3, 'Zombie'],
    ['sk', 'family', 10, 'INET6'],
    ['sk', 'proto', 0, 'IP'],
  ];
  for (const [show, field, value, shown] of cases) {
    test(`${show} ${value} is '${shown}'`, () => {
      expect(showNumber(show, field, value)).toBe(shown);
      expect(parseNumber(show, field, shown)).toBe(BigInt(value));
    });
  }

  test('without a name they stay numbers', () => {
    expect(showNumber('sk', 'family', 99)).toBeUndefined();
    expect(showNumber('sk', 'protocol', 6)).toBeUndefined();
    expect(parseNumber('sk', 'family', '99')).toBe(99n);
    expect(parseNumber('sk', 'family', 'constructor')).toBeUndefined();
    expect(parseNumber('mmap.prot', '', 'PROT_NONSENSE')).toBeUndefined();
    expect(['0x10', '0o17', '0b11', '-5', ' 7 ', '00'].map(parseInteger)).toEqual([16n, 15n, 3n, -5n, 7n, 0n]);
    expect(['', '0x', '1.5', '12a', '017'].map(parseInteger)).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });

  const addresses: [number[], string][] = [
    [[0x0100007f], '127.0.0.1'],
    [[0], '0.0.0.0'],
    [[0, 0, 0, 0], '::'],
    [[0, 0, 0, 0x01000000], '::1'],
    [[0xb80d0120, 0, 0, 0x01000000], '2001:db8::1'],
    [[0, 0, 0xffff0000, 0x0100007f], '::ffff:7f00:1'],
    [[0x80fe, 0, 0xff54_0002, 0x0df0_adfe], 'fe80::200:54ff:fead:f00d'],
    [[0x0000_0100, 0x0000_0100, 0x0000_0100, 0x0000_0100], '1:0:1:0:1:0:1:0'],
    [[0x0000_0100, 0x0100_0000, 0, 0x0100_0000], '1:0:0:1::1'],
  ];
  for (const [words, shown] of addresses) {
    test(shown, () => {
      expect(showAddress(words)).toBe(shown);
      expect(parseAddress(shown)).toEqual(words);
    });
  }

  test('what is no address', () => {
    expect(showAddress([1, 2])).toBeUndefined();
    expect(parseAddress('::ffff:127.0.0.1')).toEqual([0, 0, 0xffff0000, 0x0100007f]);
    for (const text of [
      '',
      '1.2.3',
      '1.2.3.256',
      ':',
      ':::',
      '1::2::3',
      '1:2:3:4:5:6:7',
      '1:2:3:4:5:6:7:8:9',
      'g::',
      '12345::',
    ]) {
      expect(parseAddress(text)).toBeUndefined();
    }
  });
});

describe('bytes as text', () => {
  // As Python's quopri and base64 modules print them.
  const quoted: [string, string][] = [
    ['', ''],
    ['plain', 'plain'],
    ['\0stasis', '=00stasis'],
    ['a=b\xff', 'a=3Db=FF'],
    ['end ', 'end=20'],
    ['a \nb', 'a=20\nb'],
    ['.', '=2E'],
    ['tab\tin', 'tab\tin'],
    ['x'.repeat(80), `${'x'.repeat(75)}=\n${'x'.repeat(5)}`],
  ];
  for (const [raw, text] of quoted) {
    test(`quoted ${JSON.stringify(raw)}`, () => {
      const bytes = Uint8Array.from(raw, (char) => char.charCodeAt(0));
      expect(encodeQuoted(bytes)).toBe(text);
      expect(decodeQuoted(text)).toEqual(bytes);
    });
  }

  test('every byte survives', () => {
    const all = Uint8Array.from({ length: 2000 }, (_, i) => (i * 7 + (i >> 8)) & 0xff);
    const lines = Uint8Array.from('a\r\nb\rc\n\n \t\n. \r\n'.repeat(20), (char) => char.charCodeAt(0));
    for (const bytes of [all, lines]) {
      expect(decodeQuoted(encodeQuoted(bytes))).toEqual(bytes);
      expect(decodeBase64(encodeBase64(bytes))).toEqual(bytes);
    }
    expect(encodeBase64(new Uint8Array(0))).toBe('');
    expect(encodeBase64(new Uint8Array(60))).toBe(`${'A'.repeat(76)}\n${'A'.repeat(4)}\n`);
  });
});

describe('images without a recorded specimen', () => {
  const desc = { key: 1, uid: 0, gid: 0, cuid: 0, cgid: 0, mode: 0o600, id: 1 };
  const bytes = (...values: number[]) => Uint8Array.from(values);
  const cases: [ImageKind, { message: Record<string, unknown>; payload?: unknown }[]][] = [
    [
      Images.tcpStream as unknown as ImageKind,
      [
        {
          message: { inq_len: 1, inq_seq: 0, outq_len: 2, outq_seq: 0, opt_mask: 1, snd_wscale: 7, mss_clamp: 9 },
          payload: { inq: bytes(1), outq: bytes(2, 3) },
        },
      ],
    ],
    [
      Images.bpfmapData as unknown as ImageKind,
      [{ message: { map_id: 1, keys_bytes: 1, values_bytes: 2, count: 1 }, payload: bytes(1, 2, 3) }],
    ],
    [
      Images.ipcnsShm as unknown as ImageKind,
      [
        { message: { desc, size: 5n }, payload: bytes(1, 2, 3, 4, 5) },
        { message: { desc, size: 4096n, in_pagemaps: true }, payload: bytes() },
        { message: { desc, size: 4n }, payload: bytes(1, 2, 3, 4) },
      ],
    ],
    [
      Images.ipcnsSem as unknown as ImageKind,
      [{ message: { desc, nsems: 3 }, payload: Uint16Array.from([1, 65535, 0]) }],
    ],
    [
      Images.ipcnsMsg as unknown as ImageKind,
      [
        {
          message: { desc, qbytes: 16384, qnum: 2 },
          payload: [
            { message: { mtype: 1n, msize: 3 }, data: bytes(1, 2, 3) },
            { message: { mtype: 2n, msize: 0 }, data: bytes() },
          ],
        },
      ],
    ],
    [
      Images.pidfd as unknown as ImageKind,
      [{ message: { id: 1, ino: 2, flags: 0, nspid: -1, fown: { uid: 0, euid: 0, signum: 0, pid_type: 0, pid: 0 } } }],
    ],
    [Images.binfmtMisc as unknown as ImageKind, [{ message: { name: 'x', enabled: true, interpreter: '/x' } }]],
    [
      Images.apparmor as unknown as ImageKind,
      [
        {
          message: {
            namespaces: [
              {
                name: 'root',
                policies: [{ name: 'p', blob: bytes(1) }],
                namespaces: [{ name: 'in', policies: [], namespaces: [] }],
              },
            ],
          },
        },
      ],
    ],
    [Images.irmapCache as unknown as ImageKind, [{ message: { dev: 0x801, inode: 2n ** 63n, path: '/x\udcff' } }]],
  ];
  for (const [kind, entries] of cases) {
    test(kind.name, () => {
      const image = encodeImage(kind, entries);
      const decoded = decodeImage('x', image);
      expect(decoded.kind.name).toBe(kind.name);
      expect(decoded.entries).toEqual(entries as never);
      for (const pretty of [false, true]) {
        const json = printJson(imageToJson(decoded, { pretty }));
        expect(imageFromJson(parseJson(json, 'x'), 'x')).toEqual(image);
      }
    });
  }
});

describe('encoding refuses', () => {
  const cases: [string, RegExp][] = [
    ['[]', /must be an object/],
    ['{"magic": "NONSENSE", "entries": []}', /unknown magic "NONSENSE"/],
    ['{"magic": "PAGES", "entries": []}', /unknown magic/],
    ['{"magic": "FS"}', /list of entries/],
    ['{"magic": "FS", "entries": [1]}', /must be an object/],
    ['{"magic": "FS", "entries": [{"cwd_id": 1}]}', /required field is missing \(fs_entry.root_id\)/],
    ['{"magic": "FS", "entries": [{"cwd_id": 1, "root_id": 2, "umsk": 3}]}', /no such field \(fs_entry.umsk\)/],
    ['{"magic": "FS", "entries": [{"cwd_id": -1, "root_id": 2}]}', /fs_entry.cwd_id/],
    ['{"magic": "FS", "entries": [{"cwd_id": "one", "root_id": 2}]}', /'one' is not a value/],
    ['{"magic": "FS", "entries": [{"cwd_id": [], "root_id": 2}]}', /a number expected/],
    ['{"magic": "FS", "entries": [{"cwd_id": 1, "root_id": 2, "extra": "AAAA"}]}', /no data belongs here/],
    ['{"magic": "PSTREE", "entries": [{"pid": 1, "ppid": 0, "pgid": 1, "sid": 1, "threads": 1}]}', /a list expected/],
    ['{"magic": "CORE", "entries": [{"mtype": "Z80"}]}', /'Z80' is not a value/],
    [
      '{"magic": "PIPES_DATA", "entries": [{"pipe_id": 1, "bytes": 5, "extra": "AAAA"}]}',
      /announces 5 bytes after it, 3/,
    ],
    ['{"magic": "PIPES_DATA", "entries": [{"pipe_id": 1, "bytes": 5, "extra": 7}]}', /base64 text/],
  ];
  for (const [json, reason] of cases) {
    test(json, () => {
      const error = thrownBy(() => imageFromJson(parseJson(json, 'x.json'), 'x.json'));
      expect(error).toBeInstanceOf(ImageError);
      expect((error as ImageError).reason).toMatch(reason);
    });
  }
});

describe('fields of a newer program', () => {
  /** An image of one entry: fields 31 (a varint) and 32 (bytes) are nobody's. */
  const image = Uint8Array.from([
    ...encodeImage(Images.fdinfo as unknown as ImageKind, [], 'fdinfo-2.img'),
    ...[23, 0, 0, 0],
    ...[0x08, 1, 0x10, 0, 0x18, 1, 0x20, 5],
    ...[0xf8, 1, 0x87, 0x01],
    ...[0x82, 2, 8, 1, 2, 3, 4, 5, 6, 7, 8],
  ]);
  const decoded = () => imageToJson(decodeImage('fdinfo-2.img', image, { onUnknown: () => {} }));

  test('are named in JSON, and come back byte for byte', () => {
    const json = decoded();
    expect((json.entries as Record<string, Json>[])[0]?.unknown_fields).toEqual([
      { number: 31, bytes: '+AGHAQ==\n' },
      { number: 32, bytes: 'ggIIAQIDBAUGBwg=\n' },
    ]);
    expect(imageFromJson(parseJson(printJson(json), 'x'), 'fdinfo-2.img')).toEqual(image);
  });

  const wrong: [string, Json, RegExp][] = [
    ['no list', 'x', /a list expected/],
    ['no bytes', [{ number: 31 }], /must be base64/],
    ['another number', [{ number: 32, bytes: '+AGHAQ==' }], /those of field 31/],
    ['two fields', [{ number: 31, bytes: '+AEB+AEB' }], /more than one field/],
    ['half a field', [{ number: 31, bytes: '+AE=' }], /./],
    ['one that is known', [{ number: 1, bytes: 'CAE=' }], /field 1 is known: it is id/],
  ];
  for (const [what, unknown, reason] of wrong) {
    test(`refused: ${what}`, () => {
      const json = decoded();
      const entry = (json.entries as Record<string, Json>[])[0];
      const error = thrownBy(() => imageFromJson({ ...json, entries: [{ ...entry, unknown_fields: unknown }] }, 'x'));
      expect(error).toBeInstanceOf(ImageError);
      expect((error as ImageError).reason).toMatch(reason);
    });
  }
});
