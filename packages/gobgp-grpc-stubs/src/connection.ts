import { once } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import {
  Client,
  connectivityState,
  credentials,
  type CallOptions as GrpcCallOptions,
  Metadata,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import {
  CancelledError,
  DeadlineError,
  DisconnectedError,
  type GobgpError,
  IncompatibleError,
  RefusedError,
  TooLargeError,
} from './errors.js';
import { ServerStream, StreamFailure } from './server-stream.js';

/** One connection to one gRPC server, and its end. Carries bytes; knows no message. */

export interface CallOptions {
  /** Ends the call: CancelledError. A stream ends also when its iteration does. */
  readonly signal?: AbortSignal | undefined;
  /** For an answer, in milliseconds; a stream has none of its own. */
  readonly deadline_ms?: number | undefined;
}

export interface ConnectionOptions {
  readonly deadline_ms: number;
  readonly message_bytes_max: number;
}

/** What a request consists of: its path, its bytes, and what of it no error may repeat. */
export interface Request {
  readonly method: string;
  readonly bytes: Buffer;
  readonly secrets: readonly string[];
}

const identity = (bytes: Buffer): Buffer => bytes;

export class Connection {
  /** Undefined when `close` was called, else why the connection is gone. */
  readonly closed: Promise<DisconnectedError | undefined>;
  readonly #client: Client;
  readonly #target: string;
  readonly #options: ConnectionOptions;
  readonly #calls = new Set<{ cancel(): void }>();
  #end: DisconnectedError | undefined;
  #close!: (reason: DisconnectedError | undefined) => void;

  constructor(target: string, options: ConnectionOptions) {
    this.#target = target;
    this.#options = options;
    this.closed = new Promise((resolve) => {
      this.#close = resolve;
    });
    this.#client = new Client(target, credentials.createInsecure(), {
      'grpc.max_receive_message_length': options.message_bytes_max,
      'grpc.max_send_message_length': options.message_bytes_max,
      'grpc.enable_retries': 0,
      'grpc.enable_http_proxy': 0,
      'grpc.use_local_subchannel_pool': 1,
      'grpc.service_config_disable_resolution': 1,
      // Without calls a channel would go to sleep after half an hour, which is no loss of the connection.
      'grpc.client_idle_timeout_ms': 0x7fffffff,
    });
  }

  /** To be called once it has answered: from now on it is lost when it is lost, and not made anew behind anybody's back. */
  watchForLoss(): void {
    const channel = this.#client.getChannel();
    const lost = () => this.#shut('the connection is lost', true);
    if (channel.getConnectivityState(false) !== connectivityState.READY) lost();
    else channel.watchConnectivityState(connectivityState.READY, Number.POSITIVE_INFINITY, lost);
  }

  close(): void {
    this.#shut('the connection was closed', false);
  }

  /** The answer's bytes. */
  async unary(request: Request, options: CallOptions): Promise<Buffer> {
    this.#begin(request.method, options);
    return await new Promise((resolve, reject) => {
      this.#track(options.signal, (done) =>
        this.#client.makeUnaryRequest(
          request.method,
          identity,
          identity,
          request.bytes,
          new Metadata(),
          this.#callOptions(options),
          (error, answer) => {
            done();
            if (error) reject(this.#errorOf(error, request, options));
            else resolve(answer!);
          },
        ),
      );
    });
  }

  /**
   * The answers' bytes, those together that have come by now: a server that tells a hundred thousand of them is not to cost a turn for each. What is not
   * asked for stays in the socket: whoever iterates slowly makes the server wait.
   */
  async *stream(request: Request, options: CallOptions): AsyncGenerator<readonly Buffer[], void, undefined> {
    const { method, bytes } = request;
    this.#begin(method, options);
    const { message_bytes_max } = this.#options;
    const { deadline_ms } = options;
    let done: () => void = () => undefined;
    const call = this.#track(options.signal, (untrack) => {
      done = untrack;
      return new ServerStream({ target: this.#target, method, bytes, message_bytes_max, deadline_ms });
    });
    try {
      yield* call.messages();
    } catch (error) {
      throw error instanceof StreamFailure ? this.#errorOf(error, request, options) : error;
    } finally {
      done();
      call.cancel();
    }
  }

  /** Sends one request after the other, as the server takes them. The answer comes at the end, or with the first error. */
  async sendStream(
    method: string,
    requests: AsyncIterable<Buffer> | Iterable<Buffer>,
    options: CallOptions,
  ): Promise<Buffer> {
    const request: Request = { method, bytes: Buffer.alloc(0), secrets: [] };
    this.#begin(request.method, options);
    const over = new AbortController();
    let answered: (error: ServiceError | null, answer?: Buffer) => void = () => undefined;
    const answer = new Promise<Buffer>((resolve, reject) => {
      answered = (error, bytes) => {
        over.abort();
        if (error) reject(this.#errorOf(error, request, options));
        else resolve(bytes!);
      };
    });
    answer.catch(() => undefined);
    const call = this.#track(options.signal, (done) =>
      this.#client.makeClientStreamRequest(
        method,
        identity,
        identity,
        new Metadata(),
        options.deadline_ms === undefined ? {} : this.#callOptions(options),
        (error, bytes) => {
          done();
          answered(error, bytes);
        },
      ),
    );
    call.on('error', () => undefined);
    try {
      for await (const bytes of requests) {
        if (over.signal.aborted) break;
        if (!call.write(bytes)) await once(call, 'drain', { signal: over.signal }).catch(() => undefined);
        else await setImmediate();
      }
      if (!over.signal.aborted) call.end();
    } catch (error) {
      call.cancel();
      throw error;
    }
    return await answer;
  }

  /** Throws where there is nothing to begin with. */
  #begin(method: string, { signal }: CallOptions): void {
    const rpc = nameOf(method);
    if (this.#end !== undefined) throw new DisconnectedError(this.#target, this.#end.reason, rpc);
    if (signal?.aborted) throw new CancelledError(rpc, { cause: signal.reason });
  }

  #callOptions({ deadline_ms = this.#options.deadline_ms }: CallOptions): GrpcCallOptions {
    return { deadline: Date.now() + deadline_ms };
  }

  #track<C extends { cancel(): void }>(signal: AbortSignal | undefined, begin: (done: () => void) => C): C {
    const cancel = () => call.cancel();
    const done = () => {
      signal?.removeEventListener('abort', cancel);
      this.#calls.delete(call);
    };
    const call = begin(done);
    signal?.addEventListener('abort', cancel, { once: true });
    this.#calls.add(call);
    return call;
  }

  #shut(reason: string, lost: boolean): void {
    if (this.#end !== undefined) return;
    this.#end = new DisconnectedError(this.#target, reason);
    for (const call of [...this.#calls]) call.cancel();
    this.#client.close();
    this.#close(lost ? this.#end : undefined);
  }

  #errorOf(
    error: Pick<ServiceError, 'code' | 'details' | 'message'>,
    { method, secrets }: Request,
    options: CallOptions,
  ): GobgpError {
    const rpc = nameOf(method);
    const { message_bytes_max, deadline_ms } = this.#options;
    const details = secrets.reduce(
      (text, secret) => text.replaceAll(secret, '***'),
      error.details ?? error.message,
    );
    if (options.signal?.aborted) return new CancelledError(rpc, { cause: options.signal.reason });
    if (this.#end !== undefined) return new DisconnectedError(this.#target, this.#end.reason, rpc);
    switch (error.code) {
      case status.DEADLINE_EXCEEDED:
        return new DeadlineError(rpc, options.deadline_ms ?? deadline_ms);
      case status.UNAVAILABLE:
      case status.CANCELLED:
        return new DisconnectedError(this.#target, attempted.exec(details)?.[1] ?? details, rpc);
      case status.RESOURCE_EXHAUSTED:
        return new TooLargeError(rpc, message_bytes_max, details);
      case status.UNIMPLEMENTED:
        return new IncompatibleError(`${rpc}: ${this.#target} has no such call (${details})`);
      default:
        return new RefusedError(rpc, error.code, details);
    }
  }
}

/** The reason in the words of grpc-js for a connection that could not be made. */
const attempted =
  /^No connection established\. Last error: (?:Error: )?(.*?)(?: \(\d{4}-[^)]*\))?\. Resolution note:/s;

/** The call's name in its path, `/package.Service/Name`. */
const nameOf = (method: string): string => method.slice(method.lastIndexOf('/') + 1);
