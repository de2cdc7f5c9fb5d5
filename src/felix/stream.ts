/** One connection of Felix's, read: what has come of it, in pieces that are no larger than what may be worked on at once. Pure. */
import { decode } from './decode.js';
import { FrameReader } from './frames.js';
import type { FelixMessage } from './messages.js';
import { nodes_max, PeerKeys } from './peer-keys.js';

/** The socket as it is seen from here. `Events` tell of it; what is not read, Felix has to keep. */
export interface FelixSocket {
  /** What has come; null: nothing more has by now. */
  read(): Uint8Array | null;
  /** False: enough for now, `drained` is told. */
  write(bytes: Uint8Array): boolean;
  /** At once; what was not read is lost. Idempotent. */
  close(): void;
}

/** Told at any time, never from within a call of the socket's. */
export interface SocketEvents {
  /** `read` has something since it answered null. */
  readable(): void;
  drained(): void;
  /** Once, and nothing after it; `reason` where it did not end in order. */
  closed(reason?: string): void;
}

/** A piece is handed on when it has as much, however much more there is. The last chunk of the socket's, and one large frame, may add to that. */
const messages_max = 1024;
const bytes_max = 256 * 1024;
/** Of what cannot be used, the last are kept for people. */
const problems_max = 8;

export class StreamReader {
  /** Messages of each kind that have come. */
  readonly counts = new Map<FelixMessage['kind'], number>();
  /** What was no message, or one that this release does not know: the last of them. */
  readonly problems: string[] = [];
  bytes = 0;
  config: ReadonlyMap<string, string> | undefined;
  in_sync = false;
  readonly peer_keys = new PeerKeys();
  /** The stream cannot be read any more: what is no frame has no end. */
  fault: string | undefined;
  readonly #frames: FrameReader;

  constructor(options: { readonly frame_bytes_max?: number } = {}) {
    this.#frames = new FrameReader(options);
  }

  /** Half of a message has come. */
  get halfway(): boolean {
    return !this.#frames.whole;
  }

  /** What is there by now for policies, without keys of nodes, and what is of no use to anybody; `more`: the socket may have more. */
  next(socket: Pick<FelixSocket, 'read'>): {
    readonly messages: readonly FelixMessage[];
    readonly more: boolean;
  } {
    const messages: FelixMessage[] = [];
    let bytes = 0;
    while (this.fault === undefined && messages.length < messages_max && bytes < bytes_max) {
      const chunk = socket.read();
      if (chunk === null) return { messages, more: false };
      bytes += chunk.length;
      this.bytes += chunk.length;
      const { messages: frames, fault } = this.#frames.read(chunk);
      this.fault = fault;
      for (const frame of frames) {
        const message = decode(frame);
        this.#note(message);
        if (message.kind !== 'ignored' && message.kind !== 'wireguard_key') messages.push(message);
      }
    }
    return { messages, more: this.fault === undefined };
  }

  #note(message: FelixMessage): void {
    this.counts.set(message.kind, (this.counts.get(message.kind) ?? 0) + 1);
    if (message.kind === 'config') this.config = message.config;
    else if (message.kind === 'in_sync') this.#inSync();
    else if (message.kind === 'wireguard_key') this.#key(message);
    else if (message.kind === 'unreadable') this.#problem(message.why);
    else if (message.kind === 'unknown')
      this.#problem(
        `a message of kind ${message.field ?? 'none'}, which this release does not know: upgrade it if policies are incomplete`,
      );
  }

  #inSync(): void {
    this.in_sync = true;
    this.peer_keys.inSync();
  }

  #key(message: FelixMessage & { readonly kind: 'wireguard_key' }): void {
    if (this.peer_keys.take(message)) return;
    this.#problem(`the WireGuard key of node ${message.node} is not kept: there are ${nodes_max} of them`);
  }

  #problem(text: string): void {
    if (this.problems.at(-1) === text) return;
    if (this.problems.length === problems_max) this.problems.shift();
    this.problems.push(text);
  }
}
