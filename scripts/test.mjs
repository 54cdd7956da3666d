/**
 * npm test: everything, from a fresh clone on: npm packages, Debian packages, build, checks of the code, then the pure
 * and the whole-system tests. Arguments choose test files by a part of their path: npm test -- state
 */

import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { CHECKS } from './checks.mjs';
import { canCompile, installPackages, onPath } from './debian.mjs';
import { failuresIn } from './failures.mjs';
import { ensureInstalled, home, run, runKept, tool } from './setup.mjs';

/** Programs the tests use, and the Debian packages that bring them. */
const PROGRAMS = {
  python3: ['python3'],
  perl: ['perl'],
  gawk: ['gawk'],
  bc: ['bc'],
  bash: ['bash'],
  strace: ['strace'],
  xz: ['xz-utils'],
  'stress-ng': ['stress-ng'],
  java: ['default-jre-headless'],
  ip: ['iproute2'],
  nft: ['nftables'],
  iptables: ['iptables'],
  zstd: ['zstd'],
};

/** How long one test file may take. */
const LIMIT_MINUTES = 8;

const started = Date.now();
const chosen = process.argv.slice(2);
const results = [];

ensureInstalled();
installPrograms();
await step('build', () => run(process.execPath, [join(home, 'scripts/build.mjs')]), true);
await step('victims', () => run(tool('bun'), [join(home, 'test/whole/kit/compile.ts')]), true);
if (chosen.length === 0) {
  for (const [name, check] of CHECKS) await step(name, check);
}
for (const file of testFiles()) {
  await step(file, () => testFile(file));
}
summary();

/** All test files, the fast ones first. */
function testFiles() {
  const files = ['test/pure', 'test/whole'].flatMap((folder) =>
    existsSync(join(home, folder))
      ? readdirSync(join(home, folder), { recursive: true })
          .filter((file) => file.endsWith('.test.ts'))
          .sort()
          .map((file) => `${folder}/${file}`)
      : [],
  );
  return chosen.length === 0 ? files : files.filter((file) => chosen.some((part) => file.includes(part)));
}

/** Runs a test file; returns whether it passed, or what failed in it. */
async function testFile(file) {
  // A limit for each file, so that one that hangs does not take the others with it.
  const limits = { timeout: LIMIT_MINUTES * 60_000, killSignal: 'SIGTERM' };
  const { passed, signal, errors } = await runKept(tool('bun'), ['test', '--timeout', '30000', `./${file}`], limits);
  if (passed) return true;
  return [
    ...failuresIn(errors),
    ...(signal ? [`It was ended by ${signal}; it may take ${LIMIT_MINUTES} minutes.`] : []),
  ];
}

/**
 * Runs one step and notes how it went: whether it passed, or what failed, as text. Nothing makes sense after a failed
 * one that is `vital`.
 */
async function step(name, work, vital = false) {
  console.log(`\n— ${name}`);
  const began = Date.now();
  const answer = await work();
  const passed = answer === true;
  const failures = passed || answer === false ? [] : answer;
  results.push({ name, passed, failures, seconds: (Date.now() - began) / 1000 });
  if (!passed && vital) summary();
}

function summary() {
  console.log('\nSummary');
  for (const { name, passed, seconds } of results) {
    console.log(`  ${passed ? 'pass' : 'FAIL'}  ${seconds.toFixed(1).padStart(6)} s  ${name}`);
  }
  // What failed comes last: the beginning of so long an output is often cut off.
  for (const { name, failures } of results.filter((result) => result.failures.length > 0)) {
    console.log(`\n${name}\n${failures.join('\n\n').replace(/^(?=.)/gm, '  ')}\n`);
  }
  const failed = results.filter((result) => !result.passed).length;
  const minutes = ((Date.now() - started) / 60_000).toFixed(1);
  console.log(failed === 0 ? `All passed, in ${minutes} minutes.` : `${failed} failed, in ${minutes} minutes.`);
  process.exit(failed === 0 ? 0 : 1);
}

/** Installs the Debian packages of programs that are missing. */
function installPrograms() {
  const missing = Object.entries(PROGRAMS).filter(([program]) => !onPath(program));
  const packages = new Set(missing.flatMap(([, names]) => names));
  if (!canCompile()) packages.add('gcc').add('libc6-dev');
  if (installPackages([...packages])) return;
  console.error(`Error: these packages could not be installed: ${[...packages].join(', ')}`);
  console.error('Hint: install them by hand; the tests need root and a Debian or Ubuntu');
  process.exit(1);
}
