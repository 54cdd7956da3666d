/** How scripts run that make something on the machine, and take it away again at their end, whatever ends them. */

/** What is to be undone at the end, in the reverse order. */
export const cleanups = [];

/** Runs `main`, an async function, and then the cleanups. An error is told in a sentence; the exit code is then 1. */
export function runScript(main) {
  process.on('SIGINT', () => process.exit(130));
  process.on('SIGTERM', () => process.exit(143));
  process.on('exit', () => {
    for (const work of cleanups.splice(0).reverse()) work();
  });
  main().then(
    () => process.exit(),
    (error) => {
      console.error(`\nError: ${error.message}`);
      process.exit(1);
    },
  );
}
