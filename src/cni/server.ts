/**
 * The gRPC server that Calico's CNI plugin calls, on a Unix socket. It decides nothing about pods: it bounds the number of
 * calls, hands deadline and cancellation on, and turns whatever becomes of a call into a reply that the plugin can read.
 */
import { chmod } from 'node:fs/promises';
import type { MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { Server, ServerCredentials, type ServerUnaryCall } from '@grpc/grpc-js';
import type { Clock } from '../clock.js';
import { claimSocket } from '../host/unix-socket.js';
import type { Log } from '../log.js';
import { podName, sandboxName } from '../pod/spec.js';
import {
  type AddReplySchema,
  type AddRequestSchema,
  CniDataplane,
  type DelReplySchema,
  type DelRequestSchema,
} from './generated/cni_pb.js';
import { serviceWith } from './grpc.js';

export interface CniCall {
  /** On the scale of `Clock.now_ms`: the latest moment at which an answer still reaches the plugin. */
  readonly deadline_ms: number;
  /** Aborted when the plugin is gone, or has been told that the call failed: a result after that is thrown away. */
  readonly signal: AbortSignal;
}

/**
 * Each call is answered once. A rejection becomes `successful: false` with the error's message. The plugin repeats
 * neither call; the container runtime repeats a failed DEL, and deletes the sandbox of a failed ADD.
 */
export interface CniHandlers {
  add(
    request: MessageShape<typeof AddRequestSchema>,
    call: CniCall,
  ): Promise<MessageInitShape<typeof AddReplySchema>>;
  del(
    request: MessageShape<typeof DelRequestSchema>,
    call: CniCall,
  ): Promise<MessageInitShape<typeof DelReplySchema>>;
}

export interface CniServerOptions {
  readonly path: string;
  readonly handlers: CniHandlers;
  readonly log: Log;
  readonly clock: Clock;
  /** Calls whose handlers have not settled yet, at most; further ones are refused at once. */
  readonly calls_max?: number;
}

export interface CniServer {
  /** Calls whose handlers have not settled yet. */
  callsInProgress(): number;
  /** Refuses new calls, lets those in progress end for a moment, and answers the rest with a failure. */
  stop(): Promise<void>;
}

/** The plugin parses it and fails the ADD when it cannot; a tun has none. The value is the Go implementation's. */
export const container_mac = '02:00:00:00:00:00';

/** Root alone may connect: the plugin runs as root, and who can call this can rewire any pod of the node. */
const socket_mode = 0o600;
/** The plugin's own deadline, for callers that bring none. */
const call_ms_default = 5000;
const call_ms_max = 60_000;
/** Kept back from the caller's deadline for the reply to arrive. */
const reply_margin_ms = 250;
const stop_grace_ms = 1000;
/** Kubernetes bounds all annotations of a pod to 256 KiB. */
const request_bytes_max = 1 << 20;

type Reply = { successful?: boolean; errorMessage?: string };

/** Starts listening. Rejects, naming the path and the step to take, when the socket cannot be had. */
export async function startCniServer(options: CniServerOptions): Promise<CniServer> {
  const { path, handlers, log } = options;
  const calls = new Calls(options);
  const server = new Server({
    'grpc.max_receive_message_length': request_bytes_max,
    // Statistics that nobody reads, kept for every connection: the plugin makes a new one for each call.
    'grpc.enable_channelz': 0,
  });
  const [definition, implementation] = serviceWith(CniDataplane, {
    add: async (request, call) => {
      const { namespace = '', pod = '' } = request.workload ?? {};
      const name = podName({ namespace, pod }, request.interfaceName);
      const reply = await calls.run('add', name, call, (cni_call) => handlers.add(request, cni_call));
      return { ...reply, containerMac: reply.containerMac || container_mac };
    },
    del: (request, call) =>
      calls.run('del', sandboxName(request.netns, request.interfaceName), call, (cni_call) =>
        handlers.del(request, cni_call),
      ),
  });
  server.addService(definition, implementation);

  await claimSocket(path);
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) => {
      if (error) reject(new Error(`cannot listen on ${path}: ${error.message}`, { cause: error }));
      else resolve();
    });
  });
  await chmod(path, socket_mode);
  log.info({ path }, 'cni(listen) ready for calls of the CNI plugin');

  return {
    callsInProgress: () => calls.count,
    stop: async () => {
      const grace = options.clock.after(stop_grace_ms, () => calls.abortAll());
      // A client that does not read its reply must not hold the stop up.
      const force = options.clock.after(2 * stop_grace_ms, () => server.forceShutdown());
      await new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
      grace.cancel();
      force.cancel();
    },
  };
}

/** The calls in progress. */
class Calls {
  readonly #aborters = new Set<AbortController>();
  readonly #max: number;
  readonly #clock: Clock;
  readonly #log: Log;

  constructor({ calls_max = 512, clock, log }: CniServerOptions) {
    this.#max = calls_max;
    this.#clock = clock;
    this.#log = log;
  }

  get count(): number {
    return this.#aborters.size;
  }

  abortAll(): void {
    for (const aborter of this.#aborters) aborter.abort(new Error('the dataplane is stopping: retry'));
  }

  /** Never rejects. Answers when the handler does, or earlier with a failure when the call's time is over. */
  async run<R extends Reply>(
    verb: 'add' | 'del',
    name: string,
    call: ServerUnaryCall<unknown, unknown>,
    handle: (call: CniCall) => Promise<R>,
  ): Promise<R> {
    const reply =
      this.count < this.#max
        ? await this.#bounded(name, call, handle)
        : failure<R>(
            `${name}: ${this.count} CNI calls are in progress on this node, the most it takes: retry`,
          );
    if (!reply.successful) this.#log.warn({ pod: name, cause: reply.errorMessage }, `pod(${verb}) failed`);
    return reply;
  }

  #bounded<R extends Reply>(
    name: string,
    call: ServerUnaryCall<unknown, unknown>,
    handle: (call: CniCall) => Promise<R>,
  ): Promise<R> {
    const aborter = new AbortController();
    const { signal } = aborter;
    this.#aborters.add(aborter);
    const time_ms = timeFor(call);
    const expiry = this.#clock.after(time_ms, () => {
      aborter.abort(
        new Error(`not done within ${Math.round(time_ms)} ms, the dataplane is busy or not ready: retry`),
      );
    });
    call.on('cancelled', () => aborter.abort(new Error('cancelled by the caller')));

    const handled = (async () => handle({ deadline_ms: this.#clock.now_ms() + time_ms, signal }))()
      .catch((error: unknown) => failure<R>(error instanceof Error ? error.message : String(error)))
      .finally(() => {
        expiry.cancel();
        this.#aborters.delete(aborter);
      });
    const aborted = new Promise<R>((resolve) => {
      signal.addEventListener('abort', () => resolve(failure<R>(`${name}: ${signal.reason.message}`)));
    });
    return Promise.race([handled, aborted]);
  }
}

function failure<R extends Reply>(text: string): R {
  return { successful: false, errorMessage: text } as R;
}

/** Milliseconds until an answer has to be given. */
function timeFor(call: ServerUnaryCall<unknown, unknown>): number {
  const deadline = Number(call.getDeadline());
  // grpc-js computes the deadline with Date.now.
  const left_ms = Number.isFinite(deadline) ? deadline - Date.now() : call_ms_default;
  return Math.max(0, Math.min(left_ms, call_ms_max) - reply_margin_ms);
}
