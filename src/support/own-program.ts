/** How Stasis starts itself again. */

/** The program and its first words: the executable, or a runtime and the file of this program. */
export function ownProgram(): readonly [string, ...string[]] {
  const here = decodeURIComponent(new URL(import.meta.url).pathname);
  if (here.startsWith(INSIDE)) return [process.execPath];
  const main = here.endsWith('.ts')
    ? `${here.slice(0, here.lastIndexOf('/src/'))}/src/main.ts`
    : `${here.slice(0, here.lastIndexOf('/'))}/stasis.mjs`; // also where a program has loaded index.mjs beside it
  // The words of the runtime are meant for this program, unless another one has loaded the package.
  const words = process.argv[1] === main ? process.execArgv : [];
  return [process.execPath, ...words, main];
}

/** Where the files of an executable are that Bun has compiled. */
const INSIDE = '/$bunfs/';
