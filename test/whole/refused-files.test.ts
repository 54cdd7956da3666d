/** Files and memory that cannot be carried: refused before the freeze, for the right reason, with what helps. */
import { expect, test } from 'bun:test';
import { helperBinary } from './kit/compile.ts';
import { stasis } from './kit/stasis.ts';
import { Victim } from './kit/victim.ts';

const CASES: readonly (readonly [what: string, resource: RegExp, reason: string, hint: string])[] = [
  ['secret', /fd 3 \(\/secretmem \(deleted\)\)/, 'it is secret memory (memfd_secret)', 'secretmem.enable=0'],
  ['secret-mapped', /mapping [0-9a-f-]+ \/secretmem \(deleted\)/, 'it is secret memory', 'secretmem.enable=0'],
  ['unlinked-queue', /fd 3 \(\/stasis-test-\d+ \(deleted\)\)/, 'it is a POSIX message queue', 'mq_close'],
  ['uring', /mapping [0-9a-f-]+ anon_inode:\[io_uring\]/, 'no process has a descriptor any more', 'io_uring_disabled'],
  [
    'uring-poll',
    /fd 3 \(anon_inode:\[io_uring\]\)/,
    'are in flight that wait for something to happen (poll)',
    'cancel them',
  ],
  ['uring-timeout', /fd 3 \(anon_inode:\[io_uring\]\)/, 'wait for something to happen (timeout)', 'cancel them'],
  [
    'uring-eventfd',
    /fd 3 \(anon_inode:\[io_uring\]\)/,
    'has an eventfd that is told of completions',
    'without io_uring',
  ],
  ['uring-credentials', /fd 3 \(anon_inode:\[io_uring\]\)/, 'has registered credentials', 'without io_uring'],
  ['uring-number', /fd 3 \(anon_inode:\[io_uring\]\)/, 'has a number of its own in a thread', 'without io_uring'],
  ['uring-file', /fd 3 \(anon_inode:\[io_uring\]\)/, 'for which its process has no descriptor', 'without io_uring'],
  ['deep', /working directory path of 4096 bytes or more/, 'it lies too deep', 'rename a directory above it'],
  ['deep-file', /fd \d+ \(path of 4096 bytes or more\)/, 'it lies too deep', 'rename a directory above it'],
  ['bpf-lru', /fd 3 \(anon_inode:bpf-map\)/, 'the eBPF map refused is of type LRU_HASH', 'load it again'],
  ['bpf-used', /fd 3 \(anon_inode:bpf-map\)/, 'is used by the eBPF program', 'load it again'],
  ['bpf-used', /fd 4 \(anon_inode:bpf-prog\)/, 'programs, links and iterators of eBPF', 'bpftool'],
  ['bare-name', /fd 5 \(pipe:\[\d+\]\)/, 'it is opened with O_PATH and has no path', 'have the program close it'],
  ['perf', /fd 3 \(anon_inode:\[perf_event\]\)/, 'a performance counter', 'end the measurement'],
  ['userfaultfd', /fd 3 \(anon_inode:\[userfaultfd\]\)/, 'a userfaultfd', 'wait until the program has closed it'],
  ['landlock', /fd 3 \(anon_inode:\[landlock-ruleset\]\)/, 'a ruleset of Landlock', 'before it makes its sandbox'],
  ['fsopen', /fd 3 \(anon_inode:\[fscontext\]\)/, 'a file system that is being set up', 'when it has mounted it'],
  ['fuse', /fd 3 \(\/dev\/fuse\)/, 'what its driver keeps', 'fusermount -u'],
  ['same-segment', /mapping [0-9a-f]+ \/SYSV/, 'belongs to another IPC namespace than the process is in', 'shmdt'],
  ['segment', /mapping [0-9a-f]+ \/SYSV/, 'belongs to another IPC namespace than the process is in', 'shmdt'],
];

for (const [what, resource, reason, hint] of CASES) {
  test(`${what}: ${reason}`, async () => {
    using victim = await Victim.run([helperBinary('refused'), what]);
    if (victim.skipped) return;
    const check = await stasis(['check', '-t', String(victim.pid)]);
    expect(check.status).toBe(1);
    for (const text of [check.stdout, (await stasis(victim.dumpLine())).stderr]) {
      expect(text).toMatch(resource);
      expect(text).toContain(reason);
      expect(text).toMatch(new RegExp(`^(Hint: | {4}).*${hint}`, 'm'));
    }
    await victim.verdict();
  }, 20_000);
}
