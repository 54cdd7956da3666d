/**
 * Makes connections again, in repair mode (TCP_REPAIR in net/ipv4/tcp.c): the socket is given the sequence numbers, the
 * options and the queues the saved one had, and sends nothing until repair mode ends.
 *
 * What the other end did to the connection (its FIN, its RST, the acknowledgement of our FIN) cannot be set. Such
 * segments are made here and sent to the socket, with the mark that passes the network lock.
 */

import type { LocalFd } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import { Part } from '../../../base/part.ts';
import { ImageError } from '../../../images/error.ts';
import { Images } from '../../../images/kinds.ts';
import type { TcpStreamEntry } from '../../../images/schema/sockets.ts';
import { F, O } from '../../../kernel/constants/files.ts';
import { REPAIR, REPAIR_QUEUE, TCP, TCPI_OPT, TCPOPT } from '../../../kernel/constants/inet.ts';
import { IPPROTO, MSG, SHUT, SO, TCP_STATE } from '../../../kernel/constants/sockets.ts';
import { duplicate } from '../../../kernel/files.ts';
import { RepairOption, RepairWindow } from '../../../kernel/layouts/inet.ts';
import { encodeAll } from '../../../kernel/layouts/struct.ts';
import { getNumber, getOption, setLinger, setNumber, setOption } from '../../../kernel/sockets.ts';
import { ERRNO, type Fd, SyscallError, syscall, trySyscall } from '../../../kernel/syscall.ts';
import { connectionOfEntry } from '../../../network/connections.ts';
import { fieldsOf, showEnd, sockaddrOf } from '../../../network/end-fields.ts';
import { lockIfMade } from '../../../network/made-locks.ts';
import { restoreBuffers, widen } from '../../../network/socket-options.ts';
import { type Play, SEGMENT } from '../../../network/tcp-segment.ts';
import { isClosedHere, isClosedThere, tcpInfo } from '../../../network/tcp-state.ts';
import { bindTo, prepareToBind } from './bind.ts';
import type { MadeSocket } from './protocol.ts';
import { playPeer } from './tcp-peer.ts';

// Few connections use it.
const ECN = new Part(() => require('./tcp-ecn-restore.ts') as typeof import('./tcp-ecn-restore.ts'));

/** Bytes put into a queue at a time. */
const CHUNK = 64 * 1024;

/** The largest value of TCP_MAXSEG (`MAX_TCP_WINDOW`), and the smallest (`TCP_MIN_MSS`). */
const LARGEST_MSS = 32767;
const SMALLEST_MSS = 88;

/** A connection that is being made again. */
export class Connection implements Disposable {
  readonly #socket: MadeSocket;
  readonly #stream: TcpStreamEntry;
  readonly #inq: Uint8Array;
  readonly #outq: Uint8Array;
  /** The device a link-local address belongs to, or 0. */
  #device = 0;
  /** The windows the socket is to have when repair mode ends. */
  #window: RepairWindow | undefined;
  /** A descriptor of the socket, if repair mode is still to be ended. */
  #kept: Fd | undefined;

  /** Reads the image of the connection. @throws ImageError */
  constructor(socket: MadeSocket) {
    const { entry, context } = socket;
    const [found] = context.images.readEntries(Images.tcpStream, entry.ino);
    const file = `tcp-stream-${entry.ino.toString(16)}.img`;
    if (!found) throw new ImageError({ file, code: 'IMAGE_MISSING', reason: 'the image of a connection is missing' });
    if ((found.message.unsq_len ?? 0) > found.message.outq_len) {
      throw new ImageError({ file, field: 'unsq_len', reason: 'more bytes are unsent than are in the queue' });
    }
    this.#socket = socket;
    this.#stream = found.message;
    this.#inq = found.payload?.inq ?? new Uint8Array();
    this.#outq = found.payload?.outq ?? new Uint8Array();
  }

  get #local(): LocalFd {
    return this.#socket.local;
  }

  get #state(): number {
    return this.#socket.entry.state;
  }

  /** Whether the connection was never established: the SYN was not answered, or answered by a RST. */
  get #isAsking(): boolean {
    return this.#state === TCP_STATE.SYN_SENT || (this.#isOver && this.#stream.inq_seq === 0);
  }

  /** Whether both ends had agreed on ECN. A SYN that is sent again asks for it again. */
  get #usesEcn(): boolean {
    return (this.#stream.opt_mask & TCPI_OPT.ECN) !== 0 && !this.#isAsking && !this.#isOver;
  }

  get #isOver(): boolean {
    return this.#state === TCP_STATE.CLOSE;
  }

  /** The sequence numbers of the first bytes of both queues. */
  get #starts(): { readonly inq: number; readonly outq: number } {
    const { inq_seq, inq_len, outq_seq, outq_len } = this.#stream;
    const theirs = isClosedThere(this.#state) ? 1 : 0;
    const ours = isClosedHere(this.#state) || this.#isAsking ? 1 : 0;
    return { inq: (inq_seq - theirs - inq_len) >>> 0, outq: (outq_seq - ours - outq_len) >>> 0 };
  }

  /** Binds and connects the socket. @throws StasisError */
  connect(): void {
    if (this.#usesEcn) ECN.load().takeEcn(this.#socket);
    this.#device = prepareToBind(this.#socket);
    this.#repair(REPAIR.ON);
    bindTo(this.#socket, this.#device);
    this.#setSequence(REPAIR_QUEUE.RECEIVE, this.#starts.inq);
    this.#setSequence(REPAIR_QUEUE.SEND, this.#starts.outq);
    if (this.#isAsking) {
      this.#ask();
      return;
    }
    // The kernel works out the size of segments as it connects, from this option, and does not when it is told what the
    // ends had agreed on (`tcp_connect_init()`, `tcp_repair_options_est()`): they would have 536 bytes for ever.
    setNumber(
      this.#local,
      TCP.MAXSEG,
      Math.max(Math.min(this.#stream.mss_clamp, LARGEST_MSS), SMALLEST_MSS),
      IPPROTO.TCP,
    );
    this.#connectTo();
    setNumber(this.#local, TCP.MAXSEG, 0, IPPROTO.TCP);
    this.#negotiate();
    this.#window = this.#savedWindow();
  }

  /** Sends the same SYN as before. The answer is not waited for. */
  #ask(): void {
    this.#repair(REPAIR.OFF_SILENT);
    const flags = syscall('fcntl', this.#local, F.GETFL);
    syscall('fcntl', this.#local, F.SETFL, flags | O.NONBLOCK);
    this.#connectTo();
    syscall('fcntl', this.#local, F.SETFL, flags);
  }

  #connectTo(): void {
    const { entry } = this.#socket;
    const destination = fieldsOf(entry, 'destination');
    const address = sockaddrOf(entry.family, destination, this.#device);
    const result = trySyscall('connect', this.#local, address, address.length);
    if (result === 0 || result === -ERRNO.EINPROGRESS) return;
    const resource = `socket:[${entry.ino}]`;
    const ends = `${showEnd(entry.family, fieldsOf(entry, 'source'))} and ${showEnd(entry.family, destination)}`;
    if (result === -ERRNO.EADDRNOTAVAIL) {
      throw new StasisError({
        kind: 'conflict',
        code: 'SOCKET_PORT_TAKEN',
        resource,
        reason: `there is a connection between ${ends} on this machine`,
        remedy: 'end it: perhaps the process that was saved still runs, or was restored already',
      });
    }
    throw new SyscallError('connect', -result, {
      resource: `${resource}, between ${ends}`,
      remedy: 'see that there is a route to the other end (ip route get)',
    });
  }

  /** Sets what both ends had agreed on. */
  #negotiate(): void {
    const { opt_mask, snd_wscale, rcv_wscale = 0, mss_clamp, timestamp } = this.#stream;
    const options = [
      ...(opt_mask & TCPI_OPT.SACK ? [{ code: TCPOPT.SACK_PERM, value: 0 }] : []),
      ...(opt_mask & TCPI_OPT.WSCALE ? [{ code: TCPOPT.WINDOW, value: snd_wscale + (rcv_wscale << 16) }] : []),
      ...(opt_mask & TCPI_OPT.TIMESTAMPS ? [{ code: TCPOPT.TIMESTAMP, value: 0 }] : []),
      { code: TCPOPT.MSS, value: mss_clamp },
    ];
    setOption(this.#local, TCP.REPAIR_OPTIONS, encodeAll(RepairOption, options), IPPROTO.TCP);
    if (opt_mask & TCPI_OPT.TIMESTAMPS && timestamp !== undefined) {
      setNumber(this.#local, TCP.TIMESTAMP, timestamp, IPPROTO.TCP);
    }
  }

  /** The windows of the image; where it has none, those of a new connection. */
  #savedWindow(): RepairWindow {
    const { snd_wl1, snd_wnd, max_window, rcv_wnd, rcv_wup } = this.#stream;
    const own = RepairWindow.decode(getOption(this.#local, TCP.REPAIR_WINDOW, RepairWindow.size, IPPROTO.TCP));
    if (snd_wnd === undefined) return own;
    return {
      sendWl1: snd_wl1 ?? own.sendWl1,
      sendWindow: snd_wnd,
      maxWindow: max_window ?? Math.max(own.maxWindow, snd_wnd),
      receiveWindow: rcv_wnd ?? own.receiveWindow,
      receiveWup: rcv_wup ?? own.receiveWup,
    };
  }

  /** Fills the queues, and brings the socket into its state. @throws StasisError */
  fill(): void {
    if (this.#isAsking) {
      if (this.#isOver) this.#reset(SEGMENT.RST | SEGMENT.ACK);
      return;
    }
    widen(this.#local);
    this.#send(REPAIR_QUEUE.RECEIVE, this.#inq);
    const sent = this.#outq.subarray(0, this.#outq.length - (this.#stream.unsq_len ?? 0));
    this.#send(REPAIR_QUEUE.SEND, sent);
    this.#setQueue(REPAIR_QUEUE.NONE);
    if (this.#isOver) {
      this.#reset(SEGMENT.RST);
      this.#repair(REPAIR.OFF_SILENT);
      return;
    }
    this.#shutWindow(sent.length);
    this.#sendUnsent(this.#outq.subarray(sent.length));
    // From now on segments leave, and would tell the other end of a window as large as the buffer: a connection of this
    // tree, restored already, would send what it has. A FIN that is to come in needs room, and is the last to come.
    if (!isClosedThere(this.#state)) restoreBuffers(this.#local, this.#socket.entry.opts);
    this.#close();
    this.#shutReading();
    // All other descriptors of ours are closed when repair mode ends.
    this.#kept = duplicate(this.#local);
  }

  /**
   * Closes the window of the other end, so that whatever is put into the send queue from now on stays there; and opens
   * ours, by one byte at least, so that a FIN can come in.
   */
  #shutWindow(sent: number): void {
    const { sendWl1, maxWindow, receiveWindow } = this.#window as RepairWindow; // connect() has set it
    this.#setWindow({
      sendWl1,
      sendWindow: sent,
      maxWindow: Math.max(maxWindow, sent),
      receiveWindow: Math.max(receiveWindow, 1),
      receiveWup: (this.#starts.inq + this.#stream.inq_len) >>> 0,
    });
  }

  /** Puts bytes into the send queue that were never sent. In repair mode they would count as sent. */
  #sendUnsent(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    // If Stasis is killed meanwhile, the connection is to end at once: it would be there for minutes with what it has
    // to send and a FIN, and in the way of another restore.
    setLinger(this.#local, 0);
    this.#repair(REPAIR.OFF_SILENT);
    this.#write(bytes);
    this.#repair(REPAIR.ON);
    setLinger(this.#local, undefined);
  }

  /** Has both ends send their FINs, in the order in which they did. */
  #close(): void {
    const { inq, outq } = this.#starts;
    const fin = {
      sequence: inq + this.#stream.inq_len,
      acknowledged: outq,
      flags: SEGMENT.FIN | SEGMENT.ACK,
    };
    const isLast = this.#state === TCP_STATE.LAST_ACK;
    const isFirst = isClosedHere(this.#state) && !isLast;
    // The socket acknowledges what is played, and must not be told that nobody has asked for that.
    if (isClosedThere(this.#state)) lockIfMade(this.#socket.context, connectionOfEntry(this.#socket.entry));
    if (isFirst) this.#shutWriting();
    if (isClosedThere(this.#state)) this.#play(fin, isFirst ? TCP_STATE.FIN_WAIT1 : TCP_STATE.ESTABLISHED);
    if (isLast) this.#shutWriting();
    if (this.#state === TCP_STATE.FIN_WAIT2) {
      this.#play({ ...fin, acknowledged: outq + this.#stream.outq_len + 1, flags: SEGMENT.ACK }, TCP_STATE.FIN_WAIT1);
    }
  }

  /** Puts a FIN into the send queue: as sent, unless there are bytes before it that were not. */
  #shutWriting(): void {
    this.#setQueue(this.#stream.unsq_len ? REPAIR_QUEUE.NONE : REPAIR_QUEUE.SEND);
    syscall('shutdown', this.#local, SHUT.WR);
    this.#setQueue(REPAIR_QUEUE.NONE);
  }

  /** Of a connection whose other end has sent no FIN, shutdown(2) alone tells that nothing more is received. */
  #shutReading(): void {
    const isShut = ((this.#socket.entry.shutdown ?? 0) & 1) !== 0;
    if (isShut && !isClosedThere(this.#state)) syscall('shutdown', this.#local, SHUT.RD);
  }

  /** Ends the connection by a RST of the other end; the error that leaves is taken unless it had not been taken yet. */
  #reset(flags: number): void {
    const { inq_seq, outq_seq } = this.#stream;
    // A SYN that is sent again may have been refused at once, if the other end is on this machine.
    const { state } = tcpInfo(this.#local);
    const reset = { sequence: inq_seq, acknowledged: outq_seq, flags };
    if (state !== TCP_STATE.CLOSE) this.#play(reset, state);
    if (!this.#socket.note.error) getNumber(this.#local, SO.ERROR);
  }

  #play(play: Play, leaves: number): void {
    const { entry } = this.#socket;
    // The segment comes in through the loopback device. restoreOptions() binds the socket again.
    if (entry.opts.so_bound_dev) setOption(this.#local, SO.BINDTODEVICE, new Uint8Array(1));
    playPeer(this.#local, this.#socket, this.#device, play, leaves);
  }

  /**
   * Ends repair mode: the connection goes on, beginning with a window probe. Without this it ends without a word when
   * its descriptors are closed.
   * @throws SyscallError
   */
  resume(): void {
    const local = this.#kept?.number;
    if (local === undefined || !this.#window) return;
    setOption(local, TCP.REPAIR_WINDOW, RepairWindow.encode(this.#window), IPPROTO.TCP);
    setNumber(local, TCP.REPAIR, REPAIR.OFF, IPPROTO.TCP);
    setNumber(local, SO.REUSEADDR, +(this.#socket.entry.opts.reuseaddr ?? false));
    // The answer to the probe would have the rest sent, but only established connections send one.
    const isCorked = this.#socket.entry.tcp_opts?.cork ?? false;
    if (this.#stream.unsq_len && !isCorked) setNumber(local, TCP.CORK, 0, IPPROTO.TCP);
  }

  [Symbol.dispose](): void {
    this.#kept?.[Symbol.dispose]();
  }

  #repair(value: number): void {
    setNumber(this.#local, TCP.REPAIR, value, IPPROTO.TCP);
    // The end of repair mode clears SO_REUSEADDR, without which a listening socket could not share the port yet.
    if (value !== REPAIR.ON) setNumber(this.#local, SO.REUSEADDR, 1);
  }

  #setQueue(queue: number): void {
    setNumber(this.#local, TCP.REPAIR_QUEUE, queue, IPPROTO.TCP);
  }

  #setSequence(queue: number, sequence: number): void {
    this.#setQueue(queue);
    setNumber(this.#local, TCP.QUEUE_SEQ, sequence, IPPROTO.TCP);
  }

  #setWindow(window: RepairWindow): void {
    setOption(this.#local, TCP.REPAIR_WINDOW, RepairWindow.encode(window), IPPROTO.TCP);
  }

  #send(queue: number, bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#setQueue(queue);
    this.#write(bytes);
  }

  /** Writes all bytes, in pieces the kernel has memory for (`tcp_send_rcvq()` allocates each as one buffer). */
  #write(bytes: Uint8Array): void {
    let most = CHUNK;
    for (let done = 0; done < bytes.length; ) {
      const piece = bytes.subarray(done, done + most);
      const sent = trySyscall('sendto', this.#local, piece, piece.length, MSG.DONTWAIT | MSG.NOSIGNAL, 0, 0);
      if (sent > 0) done += sent;
      else if (sent === -ERRNO.ENOMEM && most > 1024) most /= 2;
      else throw new SyscallError('sendto', -sent, { resource: `a queue of socket:[${this.#socket.entry.ino}]` });
    }
  }
}
