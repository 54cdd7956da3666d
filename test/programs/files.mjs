/*
 * Node.js with much to do in files, so that libuv uses io_uring for it (UV_USE_IO_URING=1), until a file appears.
 * Prints "done ROUNDS", or what went wrong.
 */
import { existsSync, promises as fs } from 'node:fs';

const [, , until] = process.argv;

async function worker(name) {
  let round = 0;
  for (; !existsSync(until); round++) {
    const text = `${name} ${round} `.repeat(200);
    await fs.writeFile(name, text);
    if ((await fs.readFile(name, 'utf8')) !== text) throw new Error(`${name} is not what was written`);
    if ((await fs.stat(name)).size !== text.length) throw new Error(`${name} has another size`);
    await new Promise((resolve) => setTimeout(resolve, round % 5));
  }
  return round;
}

console.log('READY');
try {
  const rounds = await Promise.all(['one', 'two', 'three'].map(worker));
  console.log(`done ${rounds.reduce((sum, each) => sum + each, 0)}`);
} catch (error) {
  console.log(`FAIL ${error.stack}`);
}
