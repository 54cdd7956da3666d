/** Talking to servers: what one end says, and waiting for what the other end answers. */
import { spawn } from 'node:child_process';
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { connect } from 'node:net';

/** How long an answer may take, in milliseconds: a server may have to read back much of what was swapped out. */
const PATIENCE = 30_000;

/** A conversation: text goes out, and what comes in is looked at by patterns. All text is bytes (latin1). */
export class Dialogue {
  #heard = '';
  #over;
  #waiting;
  #write;

  /** `write` sends text; `hear` and `end` are to be called with what comes, and when nothing comes any more. */
  constructor(name, write) {
    this.name = name;
    this.#write = write;
  }

  /** Takes what the other end has said. */
  take(text) {
    this.#heard += text;
    this.#look();
  }

  /** Nothing comes any more, and why. */
  end(reason) {
    this.#over ??= reason;
    this.#look();
  }

  say(text) {
    if (this.#over) throw new Error(`${this.name}: ${this.#over}`);
    this.#write(text);
  }

  /** Waits for a pattern, and takes everything up to its end away. Returns the match. */
  hear(pattern, patience = PATIENCE) {
    if (this.#waiting) throw new Error(`${this.name}: two wait for an answer`);
    return new Promise((resolve, reject) => {
      const late = () => this.#fail(`nothing like ${pattern} within ${patience / 1000} s`);
      this.#waiting = { pattern, resolve, reject, timer: setTimeout(late, patience) };
      this.#look();
    });
  }

  /** Says something and waits for an answer. */
  ask(text, pattern) {
    this.say(text);
    return this.hear(pattern);
  }

  /** What has come and was not waited for. */
  get rest() {
    return this.#heard;
  }

  /** @throws Error if the other end has ended the conversation */
  stillThere() {
    if (this.#over) throw new Error(`${this.name}: ${this.#over}`);
  }

  /** Waits until the other end ends the conversation. Returns how it ended it. */
  async ended(patience = PATIENCE) {
    for (const limit = Date.now() + patience; !this.#over; ) {
      if (Date.now() > limit) throw new Error(`${this.name}: it does not end`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return this.#over;
  }

  #look() {
    if (!this.#waiting) return;
    const match = this.#waiting.pattern.exec(this.#heard);
    if (match) {
      this.#heard = this.#heard.slice(match.index + match[0].length);
      this.#settle().resolve(match);
    } else if (this.#over) this.#fail(this.#over);
  }

  #fail(reason) {
    const said = JSON.stringify(this.#heard.slice(-300));
    this.#settle().reject(new Error(`${this.name}: ${reason}; it has said ${said}`));
  }

  #settle() {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    clearTimeout(waiting.timer);
    return waiting;
  }
}

/** Connects to a server: a port of 127.0.0.1, or the path of a Unix socket. `dialogue.socket` is the connection. */
export async function dial(name, where) {
  const socket = typeof where === 'number' ? connect(where, '127.0.0.1') : connect(where);
  const dialogue = new Dialogue(name, (text) => socket.write(text, 'latin1'));
  dialogue.socket = socket;
  socket.setEncoding('latin1');
  socket.on('data', (text) => dialogue.take(text));
  socket.on('error', (error) => dialogue.end(error.message));
  socket.on('end', () => dialogue.end('the server has closed the connection'));
  socket.on('close', () => dialogue.end('closed'));
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
  return dialogue;
}

/** Starts a client program; what is said goes to its standard input. `dialogue.child` is the process. */
export function client(name, command, args, options = {}) {
  const child = spawn(command, args, { stdio: 'pipe', ...options });
  const dialogue = new Dialogue(name, (text) => child.stdin.write(text, 'latin1'));
  dialogue.child = child;
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('latin1');
    stream.on('data', (text) => dialogue.take(text));
  }
  child.stdin.on('error', (error) => dialogue.end(error.message));
  child.on('error', (error) => dialogue.end(error.message));
  child.on('close', (status, signal) => dialogue.end(`it ended with ${signal ?? status}`));
  return dialogue;
}

/**
 * Talks to a program inside of the tree that is dumped: it reads a FIFO and writes to a file, so that no process
 * outside holds the other end of a pipe of the tree while it is away.
 */
export function insider(name, fifo, output) {
  const into = openSync(fifo, 'r+');
  const from = openSync(output, 'r');
  const dialogue = new Dialogue(name, (text) => writeSync(into, text, null, 'latin1'));
  const piece = Buffer.alloc(1 << 16);
  const timer = setInterval(() => {
    const count = readSync(from, piece, 0, piece.length, null);
    if (count > 0) dialogue.take(piece.toString('latin1', 0, count));
  }, 20);
  dialogue.close = () => {
    clearInterval(timer);
    closeSync(into);
    closeSync(from);
  };
  return dialogue;
}

/** @throws Error if two values are not the same, as JSON */
export function same(what, got, wanted) {
  const [a, b] = [got, wanted].map((value) => JSON.stringify(value));
  if (a !== b) throw new Error(`${what}: ${a} in place of ${b}`);
}
