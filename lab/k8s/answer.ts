import type { ServerResponse } from 'node:http';
import type { Misdeed } from './faults.js';
import type { Json } from './store.js';

/** An answer on its way, with what befalls it. */
export class Answer {
  readonly #response: ServerResponse;
  readonly #misdeeds: readonly Misdeed[];
  #sent = 0;
  #events = 0;
  /** What waits behind a long line. */
  #held: string[] | undefined;

  constructor(response: ServerResponse, misdeeds: readonly Misdeed[]) {
    this.#response = response;
    this.#misdeeds = misdeeds;
  }

  has<T extends Misdeed['type']>(type: T): Extract<Misdeed, { type: T }> | undefined {
    return this.#misdeeds.find((each): each is Extract<Misdeed, { type: T }> => each.type === type);
  }

  /** Bytes that the client has not taken. */
  get unsent_bytes(): number {
    return this.#response.writableLength + (this.#response.socket?.writableLength ?? 0);
  }

  document(code: number, body: Json, headers: Readonly<Record<string, string>> = {}): void {
    this.begin(code, headers);
    this.send(JSON.stringify(body));
    if (this.has('stall') === undefined) this.#response.end();
  }

  refuse(
    code: number,
    reason: string,
    message: string,
    headers: Readonly<Record<string, string>> = {},
  ): void {
    this.document(code, statusOf(code, reason, message), headers);
  }

  begin(code: number, headers: Readonly<Record<string, string>> = {}): void {
    this.#response.writeHead(code, { 'content-type': 'application/json', ...headers });
    // What is about to be sent may be long in coming.
    this.#response.flushHeaders();
    const said = this.has('say');
    if (said !== undefined) this.send(said.text);
    const long = this.has('long-line');
    if (long !== undefined) this.#sendLong(long.bytes);
  }

  event(type: string, object: Json): void {
    this.send(`${JSON.stringify({ type, object })}\n`);
    this.#events += 1;
    const end = this.has('end');
    if (end !== undefined && this.#events >= end.after_events) this.#response.end();
  }

  end(): void {
    this.#response.end();
  }

  send(text: string): void {
    if (this.#response.destroyed || this.#response.writableEnded) return;
    if (this.#held !== undefined) {
      this.#held.push(text);
      return;
    }
    const bytes = Buffer.from(text);
    const limit = this.has('cut') ?? this.has('stall');
    const part = limit === undefined ? bytes : bytes.subarray(0, Math.max(0, limit.after_bytes - this.#sent));
    this.#sent += part.length;
    const step = this.has('pieces')?.bytes ?? Math.max(1, part.length);
    for (let at = 0; at < part.length; at += step) this.#response.write(part.subarray(at, at + step));
    if (limit?.type === 'cut' && part.length < bytes.length)
      this.#response.write('', () => this.#response.destroy());
  }

  /** Sends a line too long to be built, as fast as it is taken. */
  #sendLong(bytes: number): void {
    const part = Buffer.alloc(1 << 20, 'x');
    let left = bytes;
    this.#held = [];
    const more = (): void => {
      while (left > 0 && !this.#response.destroyed) {
        left -= part.length;
        if (!this.#response.write(part)) {
          this.#response.once('drain', more);
          return;
        }
      }
      const held = this.#held ?? [];
      this.#held = undefined;
      this.send(`\n${held.join('')}`);
    };
    more();
  }
}

export function statusOf(code: number, reason: string, message: string): Json {
  const status = code < 400 ? 'Success' : 'Failure';
  return { kind: 'Status', apiVersion: 'v1', metadata: {}, status, message, reason, code };
}
