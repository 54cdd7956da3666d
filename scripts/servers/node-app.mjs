/**
 * A server of Node.js: counts the requests of each connection, sums up bodies, and tells over WebSockets what it is
 * told, with a number of its own each 10 ms. Whatever it takes for an error goes to its standard error.
 */
import { createServer } from 'node:http';
import { createRequire } from 'node:module';

const { WebSocketServer } = createRequire(import.meta.url)('/usr/share/nodejs/ws');
const connections = new WeakMap();
let made = 0;

const server = createServer(async (request, response) => {
  const entry = connections.get(request.socket) ?? { id: ++made, requests: 0 };
  connections.set(request.socket, entry);
  entry.requests++;
  let bytes = 0;
  for await (const piece of request) bytes += piece.length;
  response.end(JSON.stringify({ connection: entry.id, requests: entry.requests, bytes }));
});
server.keepAliveTimeout = 900_000;
server.requestTimeout = 0;
server.headersTimeout = 0;
const say = (what) => (error) => console.error(`${what}: ${error.stack ?? error}`);
server.on('error', say('server'));
server.on('clientError', say('client'));
server.on('connection', (socket) => socket.on('error', say('socket')));

const sockets = new WebSocketServer({ server });
sockets.on('connection', (socket) => {
  let ticks = 0;
  const timer = setInterval(() => socket.send(`tick ${ticks++}`), 10);
  socket.on('message', (data) => socket.send(`echo ${data}`));
  socket.on('error', say('WebSocket'));
  socket.on('close', () => clearInterval(timer));
});
server.listen(Number(process.argv[2]), '127.0.0.1');
