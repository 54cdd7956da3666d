/** A viewer of a VNC screen: as much of the RFB protocol (RFC 6143) as a demonstration needs. */

import { once } from 'node:events';
import { connect } from 'node:net';

const SECURITY_NONE = 1;
const ENCODING_RAW = 0;
const FROM_CLIENT = { setPixelFormat: 0, setEncodings: 2, updateRequest: 3, key: 4, pointer: 5 };
const FROM_SERVER = { update: 0, bell: 2, cutText: 3 };
/** X11's number of the key Return; those of letters are their codes. */
const RETURN = 0xff0d;

/** 32 bits a pixel, little-endian, blue first. */
const PIXEL_FORMAT = Buffer.from([32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0]);

/** One connection to a server without passwords. */
export class Viewer {
  width = 0;
  height = 0;
  #socket;
  #chunks;
  /** What has come and was not asked for yet. */
  #rest = Buffer.alloc(0);
  #pixels = Buffer.alloc(0);

  constructor(socket) {
    this.#socket = socket;
    this.#chunks = socket[Symbol.asyncIterator]();
    socket.setTimeout(20_000, () => socket.destroy(new Error('the server does not answer')));
  }

  /** Connects to a port of this machine. */
  static async connect(port) {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    const viewer = new Viewer(socket);
    await viewer.#greet();
    return viewer;
  }

  async #greet() {
    await this.#read(12);
    this.#socket.write('RFB 003.008\n');
    const [kinds] = await this.#read(1);
    if (!(await this.#read(kinds)).includes(SECURITY_NONE)) throw new Error('the server wants a password');
    this.#socket.write(Buffer.from([SECURITY_NONE]));
    if ((await this.#read(4)).readUInt32BE() !== 0) throw new Error('the server refuses');
    this.#socket.write(Buffer.from([1])); // others may watch as well
    const hello = await this.#read(24);
    this.width = hello.readUInt16BE(0);
    this.height = hello.readUInt16BE(2);
    await this.#read(hello.readUInt32BE(20));
    this.#pixels = Buffer.alloc(this.width * this.height * 4);
    this.#socket.write(Buffer.concat([Buffer.from([FROM_CLIENT.setPixelFormat, 0, 0, 0]), PIXEL_FORMAT]));
    this.#socket.write(Buffer.from([FROM_CLIENT.setEncodings, 0, 0, 1, 0, 0, 0, ENCODING_RAW]));
  }

  async #read(length) {
    const pieces = [this.#rest];
    let size = this.#rest.length;
    while (size < length) {
      const { value, done } = await this.#chunks.next();
      if (done) throw new Error('the server has closed the connection');
      pieces.push(value);
      size += value.length;
    }
    const bytes = Buffer.concat(pieces);
    this.#rest = bytes.subarray(length);
    return bytes.subarray(0, length);
  }

  /** The whole screen as it is now: three bytes a pixel, red first. */
  async picture() {
    const request = Buffer.alloc(10);
    request[0] = FROM_CLIENT.updateRequest;
    request.writeUInt16BE(this.width, 6);
    request.writeUInt16BE(this.height, 8);
    this.#socket.write(request);
    await this.#update();
    const colours = Buffer.alloc(this.width * this.height * 3);
    for (let i = 0; i < this.width * this.height; i++) {
      for (let part = 0; part < 3; part++) colours[3 * i + part] = this.#pixels[4 * i + 2 - part];
    }
    return colours;
  }

  async #update() {
    for (;;) {
      const [type] = await this.#read(1);
      if (type === FROM_SERVER.update) break;
      if (type === FROM_SERVER.cutText) await this.#read((await this.#read(7)).readUInt32BE(3));
      else if (type !== FROM_SERVER.bell) throw new Error(`message ${type} of the server is unknown`);
    }
    const count = (await this.#read(3)).readUInt16BE(1);
    for (let i = 0; i < count; i++) {
      const head = await this.#read(12);
      const [x, y, width, height] = [0, 2, 4, 6].map((at) => head.readUInt16BE(at));
      const bytes = await this.#read(width * height * 4);
      for (let row = 0; row < height; row++) {
        bytes.copy(this.#pixels, ((y + row) * this.width + x) * 4, row * width * 4, (row + 1) * width * 4);
      }
    }
  }

  /** Presses and lets go the keys of a text. */
  type(text) {
    for (const letter of text) {
      for (const down of [1, 0]) {
        const event = Buffer.alloc(8);
        event[0] = FROM_CLIENT.key;
        event[1] = down;
        event.writeUInt32BE(letter === '\n' ? RETURN : letter.charCodeAt(0), 4);
        this.#socket.write(event);
      }
    }
  }

  /** Presses the left button of the mouse at a place, and lets it go. */
  click(x, y) {
    for (const buttons of [1, 0]) {
      const event = Buffer.alloc(6);
      event[0] = FROM_CLIENT.pointer;
      event[1] = buttons;
      event.writeUInt16BE(x, 2);
      event.writeUInt16BE(y, 4);
      this.#socket.write(event);
    }
  }

  close() {
    this.#socket.destroy();
  }
}
