/**
 * `--cgroup-props` and `--cgroup-props-file`: which control files of cgroups are carried. CRIU's form, a piece of YAML:
 *
 *     "cpu":
 *      - "strategy": "merge"
 *      - "properties": ["cpu.shares", "cpu.cfs_period_us"]
 */
import { StasisError } from '../base/errors.ts';
import type { CgroupProperties } from '../contract/contract.ts';
import { disk } from '../kernel/disk.ts';

/**
 * What the options say, those of the file first.
 * @throws StasisError (usage) for another form, (io) for a file that is not there
 */
export function cgroupProperties(file: string | undefined, text: string | undefined): CgroupProperties[] {
  const fromFile = file === undefined ? [] : parse(fileText(file), file);
  return [...fromFile, ...(text === undefined ? [] : parse(text, '--cgroup-props'))];
}

function fileText(path: string): string {
  const text = disk.readText(path);
  if (text !== undefined) return text;
  throw new StasisError({ kind: 'usage', resource: path, reason: 'there is no such file (--cgroup-props-file)' });
}

const ENTRY = /^\s*"([^"]+)":\s*-\s*"strategy":\s*"([^"]*)"\s*-\s*"properties":\s*\[([^\]]*)\]/;

/** Parses the text, of which `where` is the name in errors. @throws StasisError (usage) */
function parse(text: string, where: string): CgroupProperties[] {
  const found: CgroupProperties[] = [];
  for (let rest = text; rest.trim() !== ''; ) {
    const [whole = '', controller = '', strategy = '', list = ''] = ENTRY.exec(rest) ?? [];
    if (whole === '') throw wrong(where, `not understood: ${rest.trim().split('\n')[0]}`);
    if (strategy !== 'merge' && strategy !== 'replace')
      throw wrong(where, `"${strategy}" is neither merge nor replace`);
    found.push({ controller, replace: strategy === 'replace', properties: namesIn(list, where) });
    rest = rest.slice(whole.length);
  }
  return found;
}

/** The texts in quotation marks between commas. */
function namesIn(list: string, where: string): string[] {
  if (list.trim() === '') return [];
  return list.split(',').map((item) => {
    const name = /^\s*"([\w.]+)"\s*$/.exec(item)?.[1];
    if (name === undefined) throw wrong(where, `no name of a control file: ${item.trim()}`);
    return name;
  });
}

function wrong(where: string, reason: string): StasisError {
  const remedy = 'the form is: "CONTROLLER":\\n - "strategy": "merge"\\n - "properties": ["FILE", "FILE"]';
  return new StasisError({ kind: 'usage', resource: where, reason, remedy });
}
