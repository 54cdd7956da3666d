/** Waiting, with an end. */

/** Waits some milliseconds. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Asks again and again until the answer is not undefined; throws what `what()` says after `limitMs`. */
export async function until<T>(ask: () => T | undefined, limitMs: number, what: () => string): Promise<T> {
  const end = performance.now() + limitMs;
  for (let pause = 1; ; pause = Math.min(pause * 1.5, 20)) {
    const answer = ask();
    if (answer !== undefined) return answer;
    if (performance.now() > end) throw new Error(`after ${limitMs} ms: ${what()}`);
    await sleep(pause);
  }
}
