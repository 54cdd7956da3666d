/** A client of the RPC: starts `stasis swrk FD` as engines do, or connects to a service. */
import { type ChildProcess, spawn } from 'node:child_process';
import type { LocalFd } from '../../../src/base/brands.ts';
import { decodeMessage, encodeMessage } from '../../../src/images/codec.ts';
import type { InputOf } from '../../../src/images/message.ts';
import { CriuReqType, type CriuResp, criuReq, criuResp } from '../../../src/images/schema/rpc.ts';
import { AF, SO, SOCK } from '../../../src/kernel/constants/sockets.ts';
import { Pins } from '../../../src/kernel/ffi.ts';
import { decodeControl, encodeControl, encodeUnixAddress, Msghdr } from '../../../src/kernel/layouts/sockets.ts';
import { setTime, socketPair, trySendMessage } from '../../../src/kernel/sockets.ts';
import { Fd, syscall } from '../../../src/kernel/syscall.ts';
import { type RunOptions, stasisCommand } from './stasis.ts';

export type Request = InputOf<typeof criuReq>;

/** A notification as it came. */
export interface Note {
  readonly script: string;
  readonly pid: number | undefined;
  /** Descriptors that came with it, which are the test's to close. */
  readonly descriptors: readonly number[];
}

/** Seconds to wait for an answer. */
const PATIENCE = 20n;

/** How a Stasis is started that serves one client. */
export interface SwrkOptions extends Pick<RunOptions, 'env' | 'command'> {
  /** Descriptors that it has as 4, 5, … */
  readonly inherited?: readonly number[];
}

export class RpcClient implements Disposable {
  readonly #socket: Fd;
  readonly #child: ChildProcess | undefined;
  readonly #ended: Promise<number | null>;
  /** All notifications so far. */
  readonly notes: Note[] = [];
  /** What is answered to a notification; by default that it went well. */
  reply: (note: Note) => Omit<Request, 'type'> = () => ({ notify_success: true });

  private constructor(socket: Fd, child?: ChildProcess) {
    this.#socket = socket;
    this.#child = child;
    setTime(socket.number, SO.RCVTIMEO, { sec: PATIENCE, usec: 0n });
    this.#ended = new Promise((resolve) => child?.on('exit', resolve));
  }

  /** Starts a Stasis that serves this client alone. */
  static swrk({ env, command = stasisCommand(), inherited = [] }: SwrkOptions = {}): RpcClient {
    const [ours, theirs] = socketPair(AF.UNIX, SOCK.SEQPACKET);
    const [file = '', ...args] = command;
    const child = spawn(file, [...args, 'swrk', '3'], {
      stdio: ['ignore', 'inherit', 'inherit', theirs.number, ...inherited],
      env: { ...process.env, ...env },
    });
    theirs[Symbol.dispose]();
    return new RpcClient(ours, child);
  }

  /** Connects to a service. */
  static connect(path: string): RpcClient {
    const socket = new Fd(syscall('socket', AF.UNIX, SOCK.SEQPACKET | SOCK.CLOEXEC, 0));
    const address = encodeUnixAddress(new Uint8Array(Buffer.from(`${path}\0`)));
    syscall('connect', socket.number, address, address.length);
    return new RpcClient(socket);
  }

  /** Sends a request and waits for its answer. @throws Error if there is none */
  ask(request: Request): CriuResp {
    const answer = this.askRaw(encodeMessage(criuReq, request));
    if (!answer) throw new Error('hung up without an answer');
    return answer;
  }

  /** Sends any bytes, and descriptors with them; undefined: the connection ended without an answer. */
  askRaw(bytes: Uint8Array, descriptors: readonly number[] = []): CriuResp | undefined {
    const sent = trySendMessage(this.#socket.number, bytes, encodeControl(descriptors), 0);
    if (sent < 0) throw new Error(`sendmsg: ${sent}`);
    for (;;) {
      const { bytes: got, descriptors } = receive(this.#socket.number);
      if (got.length === 0) return undefined;
      const answer = decodeMessage(criuResp, got);
      if (answer.type !== CriuReqType.NOTIFY || !answer.notify) return answer;
      const note = { script: answer.notify.script ?? '', pid: answer.notify.pid, descriptors };
      this.notes.push(note);
      const reply = encodeMessage(criuReq, { type: CriuReqType.NOTIFY, ...this.reply(note) });
      syscall('sendto', this.#socket.number, reply, reply.length, 0, 0, 0);
    }
  }

  /** Hangs up and answers the exit code of the Stasis that was started. */
  end(): Promise<number | null> {
    this.#socket[Symbol.dispose]();
    return this.#ended;
  }

  /** The PID of the Stasis that was started. */
  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
    this.#child?.kill('SIGKILL');
  }
}

/** One message with its descriptors; none at the end. */
function receive(socket: LocalFd): { bytes: Uint8Array; descriptors: number[] } {
  const bytes = new Uint8Array(64 * 1024);
  const control = new Uint8Array(256);
  using pins = new Pins();
  const iov = new BigUint64Array([BigInt(pins.address(bytes)), BigInt(bytes.length)]);
  const header = Msghdr.encode({
    iov: BigInt(pins.address(iov)),
    iovLength: 1n,
    control: BigInt(pins.address(control)),
    controlLength: BigInt(control.length),
  });
  const length = syscall('recvmsg', socket, header, 0);
  const { controlLength } = Msghdr.decode(header);
  const { rights } = decodeControl(control.subarray(0, Number(controlLength)));
  return { bytes: bytes.slice(0, length), descriptors: rights };
}

/** Does a single request with a Stasis of its own. */
export async function ask(
  request: Request,
  options: Parameters<typeof RpcClient.swrk>[0] = {},
): Promise<{
  readonly answer: CriuResp;
  readonly notes: readonly Note[];
  readonly status: number | null;
}> {
  using client = RpcClient.swrk(options);
  const answer = client.ask(request);
  return { answer, notes: client.notes, status: await client.end() };
}
