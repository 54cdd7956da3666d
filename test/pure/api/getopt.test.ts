import { describe, expect, test } from 'bun:test';
import { byLongName, type EndsOptions, nearest, scan } from '../../../src/api/getopt.ts';
import { OPTIONS } from '../../../src/api/options.ts';
import { StasisError } from '../../../src/base/errors.ts';

/** Scans a line of words and writes down what was found: `as` or `as=value`, then the operands. */
function found(line: string | string[], endsOptions?: EndsOptions): string {
  const words = typeof line === 'string' ? line.split(' ').filter((word) => word !== '') : line;
  const { found, operands } = scan(words, OPTIONS, endsOptions);
  const options = found.map(({ as, value }) => (value === undefined ? as : `${as}=${value}`));
  return `${options.join(' ')} | ${operands.join(' ')}`;
}

describe('getopt: what GNU getopt_long makes of it', () => {
  const cases: [line: string, meaning: string][] = [
    // Operands and order
    ['dump -t 5', '-t=5 | dump'],
    ['-t 5 dump', '-t=5 | dump'],
    ['-t 5 dump -D /x', '-t=5 -D=/x | dump'],
    ['dump - -R', '-R | dump -'],
    ['restore --exec-cmd -- prog -x --tree', '--exec-cmd | restore prog -x --tree'],
    ['-- dump -t', ' | dump -t'],
    // Long options
    ['--tree=5', '--tree=5 | '],
    ['--tree 5', '--tree=5 | '],
    ['--tree -5', '--tree=-5 | '],
    ['--tree --', '--tree=-- | '],
    ['--tree=', '--tree= | '],
    ['--external mnt[/a=b]:c', '--external=mnt[/a=b]:c | '],
    ['--external=mnt[/a=b]:c', '--external=mnt[/a=b]:c | '],
    // Abbreviations
    ['--lib /x', '--libdir=/x | '],
    ['--conf f', '--config=f | '],
    ['--h', '--help | '],
    ['--leave-r', '--leave-running | '],
    ['--images /x', '--images-dir=/x | '],
    ['--images=/x', '--images-dir=/x | '],
    ['--restore-d', '--restore-detached | '],
    ['--no-restore-d', '--no-restore-detached | '],
    ['--no-stream', '--no-stream | '],
    ['--no-default', '--no-default-config | '],
    ['--j net:/x', '--join-ns=net:/x | '], // --json is ours and must be written out
    ['--json', '--json | '],
    ['--pidf x', '--pidfile=x | '],
    ['--cgroup-props x', '--cgroup-props=x | '], // exact, although --cgroup-props-file begins the same
    ['--tls', '--tls | '],
    ['--external-x', 'error'],
    ['--ext-u', '--ext-unix-sk | '],
    // Optional arguments: only attached
    ['--verbosity 4', '--verbosity | 4'],
    ['--verbosity=4', '--verbosity=4 | '],
    ['--manage-cgroups full', '--manage-cgroups | full'],
    ['--manage-cgroups=full', '--manage-cgroups=full | '],
    ['-v 4', '-v | 4'],
    ['-v4', '-v=4 | '],
    ['-vvvv', '-v=vvv | '],
    ['-v -v', '-v -v | '],
    ['-x123,4', '-x=123,4 | '],
    ['-x 123', '-x | 123'],
    ['-verbosity=0', '-v=erbosity=0 | '],
    // Short options
    ['-D/x', '-D=/x | '],
    ['-D=/x', '-D==/x | '],
    ['-dSj', '-d -S -j | '],
    ['-dv4', '-d -v=4 | '],
    ['-Rt5', '-R -t=5 | '],
    ['-jt 5', '-j -t=5 | '],
    ['-o - dump', '-o=- | dump'],
    ['-V', '-V | '],
  ];
  test.each(cases)('%s', (line, meaning) => {
    if (meaning === 'error') expect(() => found(line)).toThrow(StasisError);
    else expect(found(line)).toBe(meaning);
  });

  test('what follows the syscall of exec is not ours', () => {
    const afterCall: EndsOptions = (operands) => operands[0] === 'exec' && operands.length === 2;
    expect(found('-p 5 exec lseek 3 -1 --help', afterCall)).toBe('-p=5 | exec lseek 3 -1 --help');
    expect(found('exec -p 5 lseek -- -1', afterCall)).toBe('-p=5 | exec lseek -- -1');
    expect(found('exec lseek -p 5', afterCall)).toBe(' | exec lseek -p 5');
  });

  test('an empty word is an operand', () => {
    expect(found(['', '-R'])).toBe('-R | ');
  });
});

describe('getopt: mistakes', () => {
  const cases: [line: string, resource: string, reason: RegExp, remedy: RegExp][] = [
    ['--leave', '--leave', /ambiguous/, /--leave-running, --leave-stopped/],
    ['--no-d', '--no-d', /ambiguous/, /--no-default-config/],
    ['--bogus', '--bogus', /unknown/, /--help/],
    ['--shel-job', '--shel-job', /unknown/, /--shell-job/],
    ['--no-tree', '--no-tree', /unknown/, /no negative form/],
    ['--tree', '--tree', /argument/, /--tree=PID/],
    ['-t', '-t', /argument/, /-t PID/],
    ['--shell-job=yes', '--shell-job', /no argument/, /alone/],
    ['--no-shell-job=yes', '--no-shell-job', /no argument/, /--no-shell-job alone/],
    ['-Z', '-Z', /unknown/, /--help/],
    ['-dZ', '-Z', /-dZ/, /--help/],
    ['-d=5', '-=', /-d=5/, /--help/],
    ['--', '', /^$/, /^$/],
  ];
  test.each(cases.slice(0, -1))('%s', (line, resource, reason, remedy) => {
    try {
      found(line);
    } catch (error) {
      expect(error).toBeInstanceOf(StasisError);
      const { kind, ...facts } = (error as StasisError).toJSON();
      expect(kind).toBe('usage');
      expect(facts.resource).toBe(resource);
      expect(facts.reason).toMatch(reason);
      expect(facts.remedy).toMatch(remedy);
      return;
    }
    throw new Error('was accepted');
  });

  test('every long name of the table means itself, and its no- form the opposite', () => {
    for (const option of OPTIONS) {
      expect(byLongName(option.long, OPTIONS)).toEqual({ option, negated: false });
      if (option.negatable) expect(byLongName(`no-${option.long}`, OPTIONS)).toEqual({ option, negated: true });
    }
  });

  test('the nearest word', () => {
    expect(nearest('dmup', ['dump', 'restore'])).toBeUndefined(); // two letters of four: anything would do
    expect(nearest('dum', ['dump', 'restore'])).toBe('dump');
    expect(nearest('resotre', ['dump', 'restore'])).toBe('restore');
  });
});
