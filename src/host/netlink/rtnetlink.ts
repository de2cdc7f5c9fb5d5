import { closeSync } from 'node:fs';
import { NetlinkError, type NetworkChange } from '../../linux/network.js';
import { errorCode } from '../files.js';
import {
  AF_NETLINK,
  bindNetlink,
  errnoName,
  receive,
  SOCK_RAW,
  SOL_NETLINK,
  send,
  sendAside,
  setReceiveTimeout,
  setSocketOption,
  socket,
} from '../libc.js';
import {
  acknowledgementOf,
  type Message,
  MessageWriter,
  messagesOf,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
} from './netlink-message.js';
import { describeChange, encodeChange, type NamespaceDescriptor } from './rtnetlink-encode.js';

/**
 * A synchronous conversation with rtnetlink. The kernel works a request off inside send(), so that its answer is there
 * when recv() is called; the receive timeout only guards against a kernel that does not keep to that.
 */

const NETLINK_ROUTE = 0;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;
const ANSWER_TIMEOUT_MS = 2_000;
/** More than the 32 KiB that the kernel puts into one datagram of a dump. */
const RECEIVE_BYTES = 65_536;
/** Each answer waits in the socket's receive buffer (208 KiB by default) until the batch is sent, at about 1 KiB each. */
const BATCH_MESSAGES_MAX = 64;
const BATCH_BYTES_MAX = 32_768;
/** A table that changes during every one of these dumps changes all the time: an error is then the honest answer. */
const DUMP_ATTEMPTS_MAX = 8;

const datagram = Buffer.allocUnsafe(RECEIVE_BYTES);
const MSG_TRUNC = 0x20;

/** The next datagram; valid until the next call, and cut off where it is longer. Throws SystemCallError (EAGAIN, ENOBUFS). */
export function receiveDatagram(fd: number, flags = 0): Buffer {
  const length = receive(fd, datagram, flags | MSG_TRUNC);
  return datagram.subarray(0, Math.min(length, datagram.length));
}

/** What an answer has in it. A datagram that is none says so at its end. */
function receiveMessages(fd: number): Iterable<Message> {
  return messagesOf(receiveDatagram(fd));
}

/** `groups`: multicast groups to listen to, as a bit mask. Born in the namespace that the thread is in. */
export function openRtnetlinkSocket(groups = 0): number {
  const fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
  try {
    bindNetlink(fd, groups);
    setReceiveTimeout(fd, ANSWER_TIMEOUT_MS);
    for (const option of [NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK]) optional(fd, option);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Better errors and shorter dumps where the kernel has them (4.20); dumps are filtered here as well. */
function optional(fd: number, option: number): void {
  try {
    setSocketOption(fd, SOL_NETLINK, option, 1);
  } catch (error) {
    if (errorCode(error) !== 'ENOPROTOOPT') throw error;
  }
}

/** What a request asks for, in the words of errors. */
export interface Question {
  readonly operation: string;
  readonly object: string;
}

export class RtnetlinkSocket {
  readonly #fd: number;
  readonly #writer = new MessageWriter();
  #sequence = 0;

  constructor() {
    this.#fd = openRtnetlinkSocket();
  }

  /** One entry per change: undefined, or why it failed. */
  batch(changes: readonly NetworkChange[], namespace: NamespaceDescriptor): (NetlinkError | undefined)[] {
    const outcomes: (NetlinkError | undefined)[] = [];
    for (let next = 0; next < changes.length; ) {
      const sent = this.#encodeSome(changes, next, namespace, outcomes);
      this.#sendAndAwait(changes, sent, outcomes);
      next = outcomes.length;
    }
    return outcomes;
  }

  /** Writes requests from `changes[start]` on. `outcomes` grows by one entry for each one looked at. */
  #encodeSome(
    changes: readonly NetworkChange[],
    start: number,
    namespace: NamespaceDescriptor,
    outcomes: (NetlinkError | undefined)[],
  ): Map<number, number> {
    const index_of_sequence = new Map<number, number>();
    this.#writer.clear();
    for (let i = start; i < changes.length; i++) {
      if (index_of_sequence.size >= BATCH_MESSAGES_MAX || this.#writer.length >= BATCH_BYTES_MAX) break;
      const change = changes[i]!;
      const before = this.#writer.length;
      try {
        const sequence = this.#nextSequence();
        encodeChange(this.#writer, change, sequence, namespace);
        index_of_sequence.set(sequence, i);
        outcomes.push(undefined);
      } catch (error) {
        // Text that is no address, or a namespace that is not there: this change fails, the others do not.
        this.#writer.truncate(before);
        const detail = error instanceof Error ? error.message : String(error);
        outcomes.push(failure(errorCode(error) ?? 'EINVAL', change, detail));
      }
    }
    return index_of_sequence;
  }

  #sendAndAwait(
    changes: readonly NetworkChange[],
    index_of_sequence: Map<number, number>,
    outcomes: (NetlinkError | undefined)[],
  ): void {
    if (index_of_sequence.size === 0) return;
    try {
      send(this.#fd, this.#writer.bytes());
      this.#awaitAnswers(changes, index_of_sequence, outcomes);
    } catch (error) {
      // Whether these were done is not known: that is an error for each of them.
      for (const index of index_of_sequence.values())
        outcomes[index] = failure(answerCode(error), changes[index]!, 'no answer from the kernel');
    }
  }

  #awaitAnswers(
    changes: readonly NetworkChange[],
    index_of_sequence: Map<number, number>,
    outcomes: (NetlinkError | undefined)[],
  ): void {
    while (index_of_sequence.size > 0) {
      for (const message of receiveMessages(this.#fd)) {
        const index = index_of_sequence.get(message.sequence);
        if (index === undefined || message.type !== NLMSG_ERROR) continue;
        index_of_sequence.delete(message.sequence);
        const { errno, detail } = acknowledgementOf(message);
        if (errno !== 0) outcomes[index] = failure(errnoName(errno), changes[index]!, detail);
      }
    }
  }

  /** One change, by a thread of its own; nothing else may be asked here until it resolves. Answers why it failed. */
  async applyAside(change: NetworkChange): Promise<NetlinkError | undefined> {
    const outcomes: (NetlinkError | undefined)[] = [];
    const sent = this.#encodeSome([change], 0, noNamespace, outcomes);
    if (sent.size === 0) return outcomes[0];
    const request = Buffer.from(this.#writer.bytes());
    try {
      if ((await sendAside(this.#fd, request)) !== request.length) return failure('EIO', change, 'not sent');
      this.#awaitAnswers([change], sent, outcomes);
      return outcomes[0];
    } catch (error) {
      return failure(errorCode(error) === undefined ? 'EIO' : answerCode(error), change, String(error));
    }
  }

  /** Reads all entries of a table. `request` writes what follows the header; `decode` answers undefined for what is not wanted. */
  dump<T>(
    question: Question,
    type: number,
    request: (writer: MessageWriter) => void,
    decode: (message: Message) => T | undefined,
  ): T[] {
    for (let attempt = 0; attempt < DUMP_ATTEMPTS_MAX; attempt++) {
      const entries: T[] = [];
      this.#request(question, type, NLM_F_DUMP, request);
      if (this.#readDump(question, entries, decode)) return entries;
    }
    throw new NetlinkError('EINTR', question.operation, question.object, 'the table changes all the time');
  }

  /** False when the table changed meanwhile. */
  #readDump<T>(question: Question, entries: T[], decode: (message: Message) => T | undefined): boolean {
    let consistent = true;
    for (;;) {
      for (const message of this.#answers(question)) {
        if (message.flags & NLM_F_DUMP_INTR) consistent = false;
        if (message.type === NLMSG_DONE || message.type === NLMSG_ERROR) {
          throwIfRefused(question, message);
          return consistent;
        }
        const entry = readable(question, () => decode(message));
        if (entry !== undefined) entries.push(entry);
      }
    }
  }

  /** Reads one object. */
  get<T>(
    question: Question,
    type: number,
    request: (writer: MessageWriter) => void,
    decode: (message: Message) => T,
  ): T {
    this.#request(question, type, 0, request);
    for (;;) {
      for (const message of this.#answers(question)) {
        if (message.type !== NLMSG_ERROR) return readable(question, () => decode(message));
        throwIfRefused(question, message);
      }
    }
  }

  #request(question: Question, type: number, flags: number, write: (writer: MessageWriter) => void): void {
    this.#writer.clear();
    this.#writer.begin(type, NLM_F_REQUEST | flags, this.#nextSequence());
    write(this.#writer);
    this.#writer.end();
    try {
      send(this.#fd, this.#writer.bytes());
    } catch (error) {
      throw new NetlinkError(answerCode(error), question.operation, question.object);
    }
  }

  /** The messages of the next datagram that answer the last request. */
  *#answers(question: Question): Generator<Message> {
    let messages: Iterable<Message>;
    try {
      messages = receiveMessages(this.#fd);
    } catch (error) {
      throw new NetlinkError(answerCode(error), question.operation, question.object);
    }
    // Answers to a request that was given up on may still arrive.
    const walk = messages[Symbol.iterator]();
    for (;;) {
      const { done, value } = readable(question, () => walk.next());
      if (done) return;
      if (value.sequence === this.#sequence) yield value;
    }
  }

  #nextSequence(): number {
    this.#sequence = (this.#sequence + 1) >>> 0;
    return this.#sequence;
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** An answer that no kernel known to us gives is an error that names what was asked. */
function readable<T>({ operation, object }: Question, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof RangeError) throw new NetlinkError('EBADMSG', operation, object, error.message);
    throw error;
  }
}

function noNamespace(path: string): number {
  throw new Error(`no change of ${path} is made aside`);
}

function throwIfRefused(question: Question, message: Message): void {
  const { errno, detail } = acknowledgementOf(message);
  if (errno !== 0) throw new NetlinkError(errnoName(errno), question.operation, question.object, detail);
}

function failure(code: string, change: NetworkChange, detail?: string): NetlinkError {
  return new NetlinkError(code, change.do, describeChange(change), detail);
}

/** The receive timeout shows as EAGAIN. */
function answerCode(error: unknown): string {
  const code = errorCode(error);
  if (code === undefined) throw error;
  return code === 'EAGAIN' ? 'ETIMEDOUT' : code;
}
