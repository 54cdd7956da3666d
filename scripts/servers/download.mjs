/** A download that is in the middle when its server is dumped. */
import { createHash } from 'node:crypto';
import { connect } from 'node:net';

/**
 * Connects to a port of 127.0.0.1, says `ask`, and gets what comes, behind the head of an answer of HTTP if there is
 * one. Returns a function that reads until so many bytes are there, and answers how many were read, and their checksum
 * so far.
 */
export function download(place, port, { ask = '', hasHead = false } = {}) {
  const socket = connect(port, '127.0.0.1');
  place.atEnd(() => socket.destroy());
  const state = { head: '', read: 0, hash: createHash('sha256'), fault: undefined };
  socket.on('error', (error) => {
    state.fault = error.message;
  });
  socket.on('end', () => {
    state.fault ??= 'it has ended';
  });
  socket.write(ask);
  let wanted = 0;
  socket.on('data', (data) => {
    let body = data;
    if (hasHead && state.read === 0) {
      state.head += data.toString('latin1');
      const end = state.head.indexOf('\r\n\r\n');
      if (end < 0) return;
      body = Buffer.from(state.head.slice(end + 4), 'latin1');
    }
    state.read += body.length;
    state.hash.update(body);
    if (state.read >= wanted) socket.pause();
  });
  return async (until) => {
    wanted = until;
    socket.resume();
    for (const limit = Date.now() + 60_000; state.read < until; ) {
      if (state.fault) throw new Error(`the download: ${state.fault} after ${state.read} bytes`);
      if (Date.now() > limit) throw new Error(`the download stands still at ${state.read} bytes`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return state;
  };
}
