import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import { isRecord } from '../calico/fields.js';
import { type Clock, orAborted } from '../clock.js';
import { type Access, AccessError } from './access.js';

/** The API server refused, or could not be asked. Its text names the request and holds no credential. */
export class ApiError extends Error {
  override readonly name = 'ApiError';

  constructor(
    message: string,
    /** As in HTTP; 0 when there was no answer. */
    readonly status: number,
    /** What the server asks to wait. */
    readonly retry_after_ms = 0,
  ) {
    super(message);
  }
}

export interface Ask {
  readonly query?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  /** A JSON document. */
  readonly body?: unknown;
  readonly content_type?: string;
  /** For the head of the answer. */
  readonly head_ms?: number;
}

type Method = 'GET' | 'PATCH';

const head_ms_default = 30_000;
/** Silence between two parts of an answer that has a beginning. */
const silence_ms = 30_000;
/** What is asked for as one document: an object. */
const document_bytes_max = 4 * 2 ** 20;
/** Of a refusal only the beginning is of use. */
const refusal_bytes_max = 65_536;
const message_length_max = 300;
const retry_after_ms_max = 60_000;

/** Steps for what an administrator has to do. */
const steps: Readonly<Record<number, string>> = {
  401: 'the token is not accepted',
  403: 'give the service account a role for it',
};

/** Requests to one API server, by nothing but Node's own HTTP. */
export class ApiClient {
  readonly #access: Access;
  readonly #clock: Clock;

  constructor(access: Access, clock: Clock) {
    this.#access = access;
    this.#clock = clock;
  }

  /** The answer, of which only the head has been read: `chunks` reads the rest. Rejects with ApiError, also for a status of 300 and more. */
  async open(method: Method, path: string, ask: Ask = {}): Promise<IncomingMessage> {
    const what = `${method} ${path}`;
    const response = await this.#send(method, path, ask, what);
    const status = response.statusCode ?? 0;
    if (status >= 200 && status < 300) return response;
    throw refusal(what, status, response, await this.#beginning(response, what));
  }

  /** A whole answer as JSON, at most 4 MiB of it. Rejects with ApiError. */
  async document(method: Method, path: string, ask: Ask = {}): Promise<unknown> {
    const what = `${method} ${path}`;
    const response = await this.open(method, path, ask);
    const parts: Buffer[] = [];
    let bytes = 0;
    for await (const part of this.chunks(response, silence_ms, what)) {
      bytes += part.length;
      if (bytes > document_bytes_max) throw new ApiError(`${what}: more than ${document_bytes_max} bytes`, 0);
      parts.push(part);
    }
    try {
      return JSON.parse(Buffer.concat(parts).toString('utf8'));
    } catch {
      throw new ApiError(`${what}: the answer is no JSON`, 0);
    }
  }

  /**
   * The body as it comes. Nothing is read ahead of who asks: then the socket stands, and with it the server. Silence for `idle_ms` while
   * somebody waits ends it, and so does whoever stops asking. Throws ApiError.
   */
  async *chunks(
    response: IncomingMessage,
    idle_ms: number,
    what: string,
  ): AsyncGenerator<Buffer, void, void> {
    const parts = response[Symbol.asyncIterator]();
    try {
      for (;;) {
        const timer = this.#clock.after(idle_ms, () =>
          response.destroy(new ApiError(`${what}: nothing was received for ${idle_ms / 1000} s`, 0)),
        );
        const next = await parts.next().finally(() => timer.cancel());
        if (next.done === true) return;
        yield next.value as Buffer;
      }
    } catch (error) {
      throw unreachable(what, error);
    } finally {
      response.destroy();
    }
  }

  async #send(method: Method, path: string, ask: Ask, what: string): Promise<IncomingMessage> {
    const { signal, head_ms = head_ms_default } = ask;
    signal?.throwIfAborted();
    const credentials = await this.#credentials(head_ms, signal, what);
    const url = new URL(path, this.#access.server);
    for (const [name, value] of Object.entries(ask.query ?? {})) url.searchParams.set(name, value);
    const body = ask.body === undefined ? undefined : JSON.stringify(ask.body);
    const send = url.protocol === 'http:' ? httpRequest : httpsRequest;
    return new Promise((resolve, reject) => {
      let response: IncomingMessage | undefined;
      const request = send(url, {
        ...credentials,
        method,
        headers: {
          accept: 'application/json',
          'user-agent': 'calico-vpp-node',
          ...(credentials.headers as object),
          ...(body !== undefined && {
            'content-type': ask.content_type ?? 'application/json',
            'content-length': Buffer.byteLength(body),
          }),
        },
      });
      const timer = this.#clock.after(head_ms, () =>
        request.destroy(new ApiError(`${what}: no answer within ${head_ms / 1000} s`, 0)),
      );
      // Not by Node's own `signal`: that destroys the socket of an answer that is complete, too, at a moment when nobody listens to its errors.
      const onAbort = (): void => {
        const reason = signal?.reason as Error;
        if (response === undefined) request.destroy(reason);
        else if (!response.complete) response.destroy(reason);
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      if (signal?.aborted) onAbort();
      request.on('close', () => signal?.removeEventListener('abort', onAbort));
      request.on('socket', (socket) => socket.setKeepAlive(true, keep_alive_ms));
      request.on('response', (head) => {
        timer.cancel();
        response = head;
        resolve(head);
      });
      request.on('error', (error) => {
        timer.cancel();
        reject(unreachable(what, error));
      });
      request.end(body);
    });
  }

  /** A program that is to make a token may hang. */
  async #credentials(
    within_ms: number,
    signal: AbortSignal | undefined,
    what: string,
  ): Promise<RequestOptions> {
    const late = new AbortController();
    const timer = this.#clock.after(within_ms, () =>
      late.abort(new ApiError(`${what}: no credentials within ${within_ms / 1000} s`, 0)),
    );
    const either = signal === undefined ? late.signal : AbortSignal.any([late.signal, signal]);
    try {
      return await orAborted(this.#access.options(), either);
    } finally {
      timer.cancel();
    }
  }

  /** The beginning of a refusal; what cannot be read of it is of no use. */
  async #beginning(response: IncomingMessage, what: string): Promise<string> {
    const parts: Buffer[] = [];
    let bytes = 0;
    try {
      for await (const part of this.chunks(response, silence_ms, what)) {
        parts.push(part);
        bytes += part.length;
        if (bytes >= refusal_bytes_max) break;
      }
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
    return Buffer.concat(parts).toString('utf8');
  }
}

/** A peer that is gone without a word is noticed by the kernel, on a watch of which nothing is heard for minutes. */
const keep_alive_ms = 30_000;

/** What the server says in a Status, or nothing. */
export function statusMessage(status: unknown): string {
  const message = isRecord(status) ? status.message : undefined;
  return typeof message === 'string' ? message.slice(0, message_length_max) : '';
}

function refusal(what: string, status: number, response: IncomingMessage, body: string): ApiError {
  let said = '';
  try {
    said = statusMessage(JSON.parse(body));
  } catch {
    // Not from the API server, but from something between.
  }
  const after_s = Number(response.headers['retry-after'] ?? 0);
  const retry_after_ms = after_s > 0 ? Math.min(after_s * 1000, retry_after_ms_max) : 0;
  const text = [`answered ${status}`, said, steps[status] ?? ''].filter((part) => part !== '').join('; ');
  return new ApiError(`${what}: ${text}`, status, retry_after_ms);
}

/** Errors of sockets and TLS carry certificates and requests: only what they say is kept. */
function unreachable(what: string, error: unknown): Error {
  if (error instanceof ApiError || error instanceof AccessError) return error;
  const { code, message, name } = error as NodeJS.ErrnoException;
  if (name === 'AbortError') return error as Error;
  return new ApiError(
    `${what}: ${[message.includes(code ?? '') ? '' : code, message].filter(Boolean).join(' ')}`,
    0,
  );
}
