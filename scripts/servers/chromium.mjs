/**
 * Chromium without a window, in the sandbox that it makes for itself: user, PID and network namespaces inside of one
 * another. A page counts on and is photographed, a client of its debugger stays connected, and a second page is opened
 * in a new process after each restore.
 */
import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
import { same } from './dialogue.mjs';
import { freePort } from './place.mjs';

const USER = 'nobody';

const PAGE = `data:text/html,${encodeURIComponent(`<body style="background: teal"><h1>Stasis</h1><script>
  let turns = 0;
  const known = Array.from({ length: 100000 }, (_, i) => i * 7);
  setInterval(() => turns++, 20);
</script>`)}`;

/** The handler of crashes leaves its parent twice: so that it stays in the tree, the browser takes in what is left. */
const SUBREAPER =
  'import ctypes, os, sys; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0); os.execv(sys.argv[1], sys.argv[1:])';

/** A page's debugger: answers what a command of its protocol answers. */
async function debug(place, url) {
  const { WebSocket } = createRequire(import.meta.url)('/usr/share/nodejs/ws');
  const socket = new WebSocket(url, { maxPayload: 64 << 20 });
  place.atEnd(() => socket.terminate());
  const waiting = new Map();
  let count = 0;
  socket.on('message', (data) => {
    const { id, result, error } = JSON.parse(`${data}`);
    if (error) waiting.get(id)?.reject(new Error(error.message));
    else waiting.get(id)?.resolve(result);
    waiting.delete(id);
  });
  const fail = (error) => {
    for (const { reject } of waiting.values()) reject(error);
  };
  socket.on('error', fail).on('close', (code) => fail(new Error(`the debugger has hung up with ${code}`)));
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  const ask = (method, params = {}) =>
    new Promise((resolve, reject) => {
      waiting.set(++count, { resolve, reject });
      socket.send(JSON.stringify({ id: count, method, params }));
    });
  return {
    ask,
    close: () => socket.terminate(),
    async run(expression) {
      const { result } = await ask('Runtime.evaluate', { expression });
      return result.value;
    },
  };
}

async function listed(port, path, method = 'GET') {
  const response = await fetch(`http://127.0.0.1:${port}/json${path}`, { method, headers: { connection: 'close' } });
  return response.json();
}

export default [
  {
    name: 'chromium',
    // In a container it watches files of an overlay, which have to be searched for (--irmap-scan-path).
    inContainers: false,
    packages: ['chromium', 'node-ws'],
    async start(place) {
      place.port = await freePort();
      const profile = place.folder('profile', USER);
      const [command, args] = place.as(USER, '/usr/bin/python3', '-c', SUBREAPER, '/usr/lib/chromium/chromium');
      const options = ['--headless=new', '--disable-gpu', '--no-first-run', '--disable-background-networking'];
      const where = [`--remote-debugging-port=${place.port}`, `--user-data-dir=${profile}`, PAGE];
      place.start(command, [...args, ...options, ...where], { HOME: profile });
      await place.listens(place.port);
    },
    async meet(place) {
      const pages = await listed(place.port, '');
      const { webSocketDebuggerUrl } = pages.find(({ type }) => type === 'page');
      const page = await debug(place, webSocketDebuggerUrl);
      const picture = () => page.ask('Page.captureScreenshot').then(({ data }) => data);
      const first = await picture();
      let turns = 0;
      return {
        async before() {
          turns = await page.run('turns');
        },
        async after(cycle) {
          const now = await page.run('turns');
          if (!(now >= turns)) throw new Error(`${now} turns after ${turns}`);
          same('what the page knows', await page.run('known.reduce((a, b) => a + b)'), 34_999_650_000);
          same('its picture', await picture(), first);
          const made = await listed(place.port, `/new?data:text/html,${cycle}`, 'PUT');
          const other = await debug(place, made.webSocketDebuggerUrl);
          const loaded = "document.readyState === 'complete' && document.body.innerText";
          for (let turn = 0; turn < 100 && (await other.run(loaded)) !== `${cycle}`; turn++) await sleep(50);
          same('a new page', await other.run(loaded), `${cycle}`);
          other.close();
          await fetch(`http://127.0.0.1:${place.port}/json/close/${made.id}`, { headers: { connection: 'close' } });
        },
        async end() {
          page.close();
        },
      };
    },
    complaints: /FATAL|crash|SIGSEGV|Check failed/i,
  },
];
