/**
 * Archives that are encrypted with a key of 32 bytes: a header, then frames of AES-256-GCM. The key of the frames is
 * derived from that key and a random salt, so it is another one for each archive, and a frame's nonce is its number and
 * whether it is the last. So frames that are changed, missing, exchanged or added are noticed, each before its content
 * is used, and an archive that was cut at the end of a frame, too.
 */
import { StasisError } from '../../base/errors.ts';
import { encodeText } from '../../base/text.ts';
import { ImageError } from '../../images/error.ts';
import { O } from '../../kernel/constants/files.ts';
import { openFile, tryRead } from '../../kernel/files.ts';
import { SyscallError } from '../../kernel/syscall.ts';
import { EMPTY } from './members.ts';

/** What an encrypted archive begins with. */
const MAGIC = encodeText('stasis-sealed 1\n');
const SALT = 32;
const MAC = 32;
/** The magic, a salt, and a code over both by which a wrong key is told from damage. */
export const HEADER_SIZE = MAGIC.length + SALT + MAC;
/** Bytes of content in a frame; in the last one fewer, or none. */
export const FRAME = 256 * 1024;
export const TAG = 16;
const KEY = 32;

type Crypto = typeof import('node:crypto');

function crypto(): Crypto {
  return process.getBuiltinModule('node:crypto');
}

/** Whether an archive is encrypted, by its first bytes. */
export function isSealed(first: Uint8Array): boolean {
  return first.length >= MAGIC.length && MAGIC.every((byte, i) => first[i] === byte);
}

/** Reads a key: 32 bytes, or as many in hexadecimal digits. @throws StasisError */
export function readKey(path: string): Uint8Array {
  const bytes = new Uint8Array(4 * KEY);
  using file = openFile(path, O.RDONLY | O.NOCTTY);
  const got = tryRead(file.number, bytes);
  if (got < 0) throw new SyscallError('read', -got, { resource: path });
  if (got === KEY) return bytes.slice(0, KEY);
  const digits = Buffer.from(bytes.subarray(0, got)).toString('latin1').trim();
  if (/^[\da-f]{64}$/i.test(digits)) return new Uint8Array(Buffer.from(digits, 'hex'));
  throw new StasisError({
    kind: 'usage',
    resource: path,
    reason: 'is no key: that has 32 bytes, or 64 hexadecimal digits',
    remedy: `make one: head -c 32 /dev/urandom > FILE`,
  });
}

function derive(key: Uint8Array, salt: Uint8Array, purpose: string): Uint8Array {
  return new Uint8Array(crypto().hkdfSync('sha256', key, salt, `stasis archive, ${purpose}`, KEY));
}

function codeOf(key: Uint8Array, head: Uint8Array): Uint8Array {
  return new Uint8Array(
    crypto()
      .createHmac('sha256', derive(key, head.subarray(MAGIC.length), 'header'))
      .update(head)
      .digest(),
  );
}

/** The nonce of a frame: its number, and whether it is the last one. */
function nonceOf(number: number, isLast: boolean): Uint8Array {
  const nonce = new Uint8Array(12);
  new DataView(nonce.buffer).setBigUint64(0, BigInt(number));
  nonce[11] = isLast ? 1 : 0;
  return nonce;
}

/** Encrypts one archive. */
export class Sealer {
  readonly header: Uint8Array;
  readonly #key: Uint8Array;
  #number = 0;

  constructor(key: Uint8Array) {
    const salt = new Uint8Array(crypto().randomBytes(SALT));
    const head = new Uint8Array(Buffer.concat([MAGIC, salt]));
    this.header = new Uint8Array(Buffer.concat([head, codeOf(key, head)]));
    this.#key = derive(key, salt, 'frames');
  }

  /** The next frame: {@link FRAME} bytes of content, or fewer in the last one. */
  seal(content: Uint8Array, isLast: boolean): Uint8Array {
    const cipher = crypto().createCipheriv('aes-256-gcm', this.#key, nonceOf(this.#number++, isLast));
    return new Uint8Array(Buffer.concat([cipher.update(content), cipher.final(), cipher.getAuthTag()]));
  }
}

/** Decrypts one archive. `file` names it in errors. */
export class Opener {
  readonly #file: string;
  readonly #key: Uint8Array;
  #number = 0;

  /** @throws ImageError if that is no header of an encrypted archive, or of one with another key */
  constructor(key: Uint8Array, header: Uint8Array, file: string) {
    this.#file = file;
    if (header.length === 0) throw new ImageError({ file, reason: EMPTY });
    if (!isSealed(header)) {
      const remedy = 'leave out --encrypt if it is meant to be so';
      throw new ImageError({ file, reason: 'is not encrypted', remedy });
    }
    if (header.length < HEADER_SIZE) throw new ImageError({ file, reason: 'ends too early' });
    const head = header.subarray(0, HEADER_SIZE - MAC);
    if (!crypto().timingSafeEqual(codeOf(key, head), header.subarray(HEADER_SIZE - MAC, HEADER_SIZE))) {
      throw new ImageError({ file, reason: 'is encrypted with another key, or damaged' });
    }
    this.#key = derive(key, head.subarray(MAGIC.length), 'frames');
  }

  /** The content of the next frame. @throws ImageError if it is not what was written */
  open(frame: Uint8Array, isLast: boolean): Uint8Array {
    if (frame.length < TAG) throw this.#damaged();
    const decipher = crypto().createDecipheriv('aes-256-gcm', this.#key, nonceOf(this.#number, isLast));
    decipher.setAuthTag(frame.subarray(-TAG));
    try {
      const content = decipher.update(frame.subarray(0, -TAG));
      decipher.final();
      this.#number++;
      return content;
    } catch {
      throw this.#damaged();
    }
  }

  #damaged(): ImageError {
    const reason = `was changed or cut: frame ${this.#number} is not what was written`;
    return new ImageError({ file: this.#file, code: 'IMAGE_CHANGED', reason });
  }
}
