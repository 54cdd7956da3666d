/** Node.js: HTTP/1.1 with keep-alive, a request cut in half by the dump, and a WebSocket on which both sides talk. */
import { Agent, request } from 'node:http';
import { createRequire } from 'node:module';
import { same } from './dialogue.mjs';
import { freePort } from './place.mjs';

const BODY = 300_000;
/** Longer than the server is away: Node.js gives up after ten probes that nobody has answered, one each second. */
const PROBED_AFTER = 900_000;

/**
 * One request on the connection of an agent. Returns what the server has answered, and whether the connection was used
 * before.
 */
function get(agent, port) {
  return new Promise((resolve, reject) => {
    const asked = request({ agent, port, host: '127.0.0.1' }, async (response) => {
      let text = '';
      for await (const piece of response) text += piece;
      resolve({ ...JSON.parse(text), reused: asked.reusedSocket });
    });
    asked.on('error', reject).end();
  });
}

/** A WebSocket, whose ticks must come without a gap. */
function webSocket(place, port) {
  const { WebSocket } = createRequire(import.meta.url)('/usr/share/nodejs/ws');
  const socket = new WebSocket(`ws://127.0.0.1:${port}`);
  const state = { socket, ticks: 0, echo: [], fault: undefined };
  place.atEnd(() => socket.terminate());
  socket.on('message', (data) => {
    const [kind, text] = `${data}`.split(' ');
    if (kind === 'echo') state.echo.push(text);
    else if (Number(text) === state.ticks) state.ticks++;
    else state.fault ??= `tick ${text} in place of ${state.ticks}`;
  });
  socket.on('error', (error) => {
    state.fault ??= error.message;
  });
  socket.on('close', (code) => {
    state.fault ??= `closed with ${code}`;
  });
  return new Promise((resolve, reject) => socket.once('open', () => resolve(state)).once('error', reject));
}

async function until(what, holds) {
  for (const limit = Date.now() + 30_000; !holds(); ) {
    if (Date.now() > limit) throw new Error(`${what}: not within 30 s`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export default [
  {
    name: 'node',
    packages: ['nodejs', 'node-ws'],
    async start(place) {
      place.port = await freePort();
      place.start('node', [new URL('node-app.mjs', import.meta.url).pathname, `${place.port}`]);
      await place.listens(place.port);
    },
    async meet(place) {
      const agent = new Agent({ keepAlive: true, maxSockets: 1, keepAliveMsecs: PROBED_AFTER });
      place.atEnd(() => agent.destroy());
      const first = await get(agent, place.port);
      const talk = await webSocket(place, place.port);
      const half = await place.dial('a POST in two halves', place.port);
      let asked = first.requests;
      let ticks = 0;
      const keptAlive = async () => {
        const got = await get(agent, place.port);
        same('keep-alive', got, { connection: first.connection, requests: ++asked, bytes: 0, reused: true });
      };
      return {
        async before(cycle) {
          await keptAlive();
          half.say(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${BODY}\r\n\r\n${'x'.repeat(BODY / 2)}`);
          talk.socket.send(`whole-${cycle}`);
          talk.socket.send(`begin-${cycle}-`, { fin: false });
          await until('echo', () => talk.echo.length === 2 * cycle - 1);
          ticks = talk.ticks;
        },
        async after(cycle) {
          await keptAlive();
          const [, body] = await half.ask('x'.repeat(BODY / 2), /^HTTP\/1.1 200 OK[\s\S]*\r\n\r\n(\{.*?\})/);
          same('the POST in two halves', JSON.parse(body).bytes, BODY);
          talk.socket.send('end', { fin: true });
          await until('echo', () => talk.echo.length === 2 * cycle);
          same('echoes', talk.echo.slice(-2), [`whole-${cycle}`, `begin-${cycle}-end`]);
          await until('ticks', () => talk.ticks > ticks + 5);
          if (talk.fault) throw new Error(`WebSocket: ${talk.fault}`);
          const anew = await place.dial('a new connection', place.port);
          await anew.ask('GET / HTTP/1.1\r\nHost: x\r\n\r\n', /^HTTP\/1.1 200 OK/);
          anew.socket.destroy();
        },
        async end() {
          agent.destroy();
          talk.fault = 'over';
          talk.socket.terminate();
          half.socket.destroy();
        },
      };
    },
    complaints: /./,
  },
];
