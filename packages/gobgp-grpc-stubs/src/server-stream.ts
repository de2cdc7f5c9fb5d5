import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2';
import { connect as connectSocket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';

/**
 * A gRPC call with one request and many answers, on an HTTP/2 connection of its own: what the server tells a hundred thousand times is to cost
 * no more than its bytes, and grpc-js takes each message through a dozen callbacks. Carries bytes; knows no message.
 */

export interface ServerStreamOptions {
  /** `unix:/run/gobgp.sock` or `127.0.0.1:50051`. */
  readonly target: string;
  readonly method: string;
  /** The request. */
  readonly bytes: Buffer;
  /** Of one answer. */
  readonly message_bytes_max: number;
  /** For all of it. */
  readonly deadline_ms?: number | undefined;
}

/** Why there are no more answers, in gRPC's terms. */
export class StreamFailure extends Error {
  constructor(
    readonly code: number,
    readonly details: string,
  ) {
    super(details);
  }
}

/** What the server may send before it was read, in bytes. */
const window_bytes = 2 ** 20;
/** Answers that are handed on together, at most. */
const together_max = 256;

export class ServerStream {
  readonly #session: ClientHttp2Session;
  readonly #stream: ClientHttp2Stream;
  readonly #frames: Frames;
  readonly #timer: NodeJS.Timeout | undefined;
  #failure: StreamFailure | undefined;
  /** The server says that these were all. */
  #ok = false;
  /** Nothing more comes. */
  #over = false;
  #wake: () => void = () => undefined;

  constructor({ target, method, bytes, message_bytes_max, deadline_ms }: ServerStreamOptions) {
    this.#frames = new Frames(message_bytes_max);
    this.#session = sessionWith(target);
    this.#session.on('error', ({ message }) => this.#fail(status.UNAVAILABLE, message));
    this.#session.on('close', () => this.#fail(status.UNAVAILABLE, 'the connection is lost'));
    // One that was destroyed meanwhile is told that it is connected, too.
    this.#session.on('connect', () => {
      if (!this.#session.destroyed) this.#session.setLocalWindowSize(window_bytes);
    });
    const stream = this.#session.request({
      [constants.HTTP2_HEADER_METHOD]: constants.HTTP2_METHOD_POST,
      [constants.HTTP2_HEADER_PATH]: method,
      [constants.HTTP2_HEADER_CONTENT_TYPE]: 'application/grpc',
      [constants.HTTP2_HEADER_TE]: 'trailers',
    });
    this.#stream = stream;
    // Where nothing was told the answer's headers are its trailers.
    stream.on('response', (headers) => this.#heard(headers));
    stream.on('trailers', (trailers) => this.#heard(trailers));
    stream.on('readable', () => this.#wake());
    stream.on('end', () => this.#end());
    // Why it is broken off is known when it is closed, or told by the session.
    stream.on('error', () => undefined);
    stream.on('close', () => this.#closed());
    stream.end(framed(bytes));
    if (deadline_ms !== undefined)
      this.#timer = setTimeout(() => {
        this.#breakOff(status.DEADLINE_EXCEEDED, `not within ${deadline_ms} ms`);
      }, deadline_ms);
  }

  /** Ends the call, and its connection. */
  cancel(): void {
    clearTimeout(this.#timer);
    this.#breakOff(status.CANCELLED, 'the call was cancelled');
  }

  /** What the server has said of the end, and not all is read, does not come any more. */
  #breakOff(code: number, details: string): void {
    if (!this.#over) this.#failure ??= new StreamFailure(code, details);
    this.#session.destroy();
    this.#wake();
  }

  /**
   * The answers, those together that have come by now. What is not asked for stays in the socket, but for a window of bytes: whoever iterates slowly makes
   * the server wait. Throws a StreamFailure.
   */
  async *messages(): AsyncGenerator<readonly Buffer[], void, undefined> {
    for (;;) {
      const chunk: Buffer | null = this.#stream.read();
      if (chunk !== null) {
        const come = this.#frames.take(chunk);
        for (let at = 0; at < come.length; at += together_max) yield come.slice(at, at + together_max);
      } else if (this.#failure !== undefined) throw this.#failure;
      else if (this.#over) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        // The first frame of many wakes, and those that came in the same piece of the socket are heard by now.
        await setImmediate();
      }
    }
  }

  #heard(headers: Readonly<Record<string, string | string[] | number | undefined>>): void {
    const http_status = headers[constants.HTTP2_HEADER_STATUS];
    const grpc_status = headers['grpc-status'];
    if (grpc_status !== undefined) {
      const code = Number(grpc_status);
      if (code === status.OK) this.#ok = true;
      else this.#fail(Number.isInteger(code) ? code : status.UNKNOWN, textOf(headers['grpc-message']));
    } else if (http_status !== undefined && Number(http_status) !== 200)
      this.#fail(status.UNKNOWN, `HTTP status ${http_status}`);
  }

  #end(): void {
    // Otherwise it may have been broken off.
    if (!this.#ok) return;
    this.#over = true;
    this.#wake();
  }

  #closed(): void {
    const { rstCode } = this.#stream;
    // A part of what was said to be all would be taken for all.
    if (this.#ok && !this.#over)
      return this.#breakOff(status.UNAVAILABLE, 'the connection was lost before all was read');
    if (this.#session.destroyed) return;
    if (rstCode === constants.NGHTTP2_NO_ERROR)
      this.#fail(status.INTERNAL, 'the call has ended without a status');
    else
      this.#fail(outcomes.get(rstCode) ?? status.INTERNAL, `the call was broken off, HTTP/2 code ${rstCode}`);
  }

  /** What is said first counts. */
  #fail(code: number, details: string): void {
    if (!this.#ok) this.#failure ??= new StreamFailure(code, details);
    this.#wake();
  }
}

function sessionWith(target: string): ClientHttp2Session {
  const settings = { initialWindowSize: window_bytes, enablePush: false };
  const [, path] = /^unix:(?:\/\/(?=\/))?(.*)$/s.exec(target) ?? [];
  if (path === undefined) return connect(`http://${target}`, { settings });
  return connect('http://localhost', { settings, createConnection: () => connectSocket(path) });
}

/** What the end of a call by HTTP/2 means; another one is INTERNAL. */
const outcomes: ReadonlyMap<number, number> = new Map([
  [constants.NGHTTP2_REFUSED_STREAM, status.UNAVAILABLE],
  [constants.NGHTTP2_CANCEL, status.CANCELLED],
  [constants.NGHTTP2_ENHANCE_YOUR_CALM, status.RESOURCE_EXHAUSTED],
]);

/** Percent-encoded where it is not printable; what is not encoded well is shown as it came. */
function textOf(header: string | string[] | number | undefined): string {
  const text = String(header ?? '');
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Before a message stand a byte that says whether it is compressed, and four with its length. */
const header_length = 5;

function framed(message: Buffer): Buffer {
  const header = Buffer.alloc(header_length);
  header.writeUInt32BE(message.length, 1);
  return Buffer.concat([header, message]);
}

const none: readonly Buffer[] = [];

/** Messages out of chunks, wherever these are cut. */
class Frames {
  readonly #message_bytes_max: number;
  #chunks: Buffer[] = [];
  #length = 0;
  /** So much is needed for the next message to be whole, as far as is known. */
  #needed = header_length;

  constructor(message_bytes_max: number) {
    this.#message_bytes_max = message_bytes_max;
  }

  /** Those that are whole by now. Throws a StreamFailure. */
  take(chunk: Buffer): readonly Buffer[] {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    if (this.#length < this.#needed) return none;
    const bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks, this.#length);
    const messages: Buffer[] = [];
    let at = 0;
    for (;;) {
      this.#needed = this.#frameAt(bytes, at);
      if (bytes.length - at < this.#needed) break;
      messages.push(bytes.subarray(at + header_length, at + this.#needed));
      at += this.#needed;
    }
    const rest = bytes.subarray(at);
    this.#chunks = rest.length > 0 ? [rest] : [];
    this.#length = rest.length;
    return messages;
  }

  /** Its length with its header. */
  #frameAt(bytes: Buffer, at: number): number {
    if (bytes.length - at < header_length) return header_length;
    if (bytes[at] !== 0)
      throw new StreamFailure(status.INTERNAL, 'a compressed message, which was not asked for');
    const length = bytes.readUInt32BE(at + 1);
    if (length > this.#message_bytes_max)
      throw new StreamFailure(status.RESOURCE_EXHAUSTED, `it has ${length} bytes`);
    return header_length + length;
  }
}
