import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  Server,
  ServerCredentials,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import { Codec } from '../src/codec.js';
import { type Input, type Output, rpcs } from '../src/index.js';
import type { Dialect } from '../src/version.js';

type Name = keyof typeof rpcs;
/** Bytes are sent as they are. */
export type Answer<N extends Name> = Input<(typeof rpcs)[N]['response']> | Buffer;
export type Ask<N extends Name> = Output<(typeof rpcs)[N]['request']>;

/** A refusal, in gRPC's terms. */
export class Refusal extends Error {
  constructor(
    readonly code: status,
    readonly details: string,
  ) {
    super(details);
  }
}

export type Handlers = {
  [N in Name]?: (typeof rpcs)[N]['stream'] extends true
    ? (
        request: Ask<N>,
        call: ServerWritableStream<Buffer, Buffer>,
      ) => Iterable<Answer<N>> | AsyncIterable<Answer<N>>
    : (request: Ask<N>) => Answer<N> | Promise<Answer<N>>;
} & {
  addPathStream?: (call: ServerReadableStream<Buffer, Buffer>, answer: sendUnaryData<Buffer>) => void;
};

const identity = (bytes: Buffer): Buffer => bytes;
const services: Readonly<Record<Dialect, string>> = { 3: 'apipb.GobgpApi', 4: 'api.GoBgpService' };

/** A gRPC server that speaks one dialect and answers what a test says. GetBgp it answers by itself. */
export class FakeGobgpd {
  readonly socket: string;
  readonly #directory = mkdtempSync(join(tmpdir(), 'fake-gobgpd-'));
  readonly #server = new Server({
    'grpc.max_receive_message_length': -1,
    'grpc.max_send_message_length': -1,
  });

  constructor(dialect: Dialect, handlers: Handlers) {
    this.socket = join(this.#directory, 'api.sock');
    const codec = new Codec({ major: dialect, minor: 99 });
    const all: Handlers = {
      getBgp: () => ({ global: { asn: 65001, router_id: '192.0.2.1' } }),
      ...handlers,
    };
    const definition: Record<string, object> = {};
    const implementation: Record<string, unknown> = {};
    for (const [name, handler] of Object.entries(all)) {
      const rpc = name === 'addPathStream' ? undefined : rpcs[name as Name];
      definition[name] = {
        path: `/${services[dialect]}/${rpc?.name ?? 'AddPathStream'}`,
        requestStream: rpc === undefined,
        responseStream: rpc?.stream === true,
        requestSerialize: identity,
        requestDeserialize: identity,
        responseSerialize: identity,
        responseDeserialize: identity,
      };
      // What the table says of each, the loop does not know.
      const answer = handler as (request: unknown, call?: unknown) => unknown;
      if (rpc === undefined) implementation[name] = handler;
      else if (rpc.stream)
        implementation[name] = async (call: ServerWritableStream<Buffer, Buffer>) => {
          try {
            for await (const each of answer(
              codec.decode(rpc.request, call.request),
              call,
            ) as AsyncIterable<unknown>)
              if (!call.write(Buffer.isBuffer(each) ? each : codec.encode(rpc.response, each).bytes))
                await new Promise((resolve) => call.once('drain', resolve));
            call.end();
          } catch (error) {
            call.emit('error', error);
          }
        };
      else
        implementation[name] = async (
          call: ServerUnaryCall<Buffer, Buffer>,
          reply: sendUnaryData<Buffer>,
        ) => {
          try {
            reply(
              null,
              codec.encode(rpc.response, await answer(codec.decode(rpc.request, call.request))).bytes,
            );
          } catch (error) {
            reply(error as Error, null);
          }
        };
    }
    this.#server.addService(definition as never, implementation as never);
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve, reject) => {
      this.#server.bindAsync(`unix:${this.socket}`, ServerCredentials.createInsecure(), (error) => {
        if (error) reject(error);
        else resolve();
      });
    });
    return this;
  }

  /** Cuts every connection. */
  stop(): void {
    this.#server.forceShutdown();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

export { status };
