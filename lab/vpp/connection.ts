/** One client's connection: frames in, handlers, frames out. Knows no socket. */
import {
  type Bytes,
  FrameReader,
  frame_header_bytes,
  header_size,
  MalformedError,
  type Message,
  writeFrameHeader,
} from 'vpp-binapi-ts';
import { sockclnt_create } from 'vpp-binapi-ts/memclnt';
import type { Strike } from './faults.js';
import type { Caller, Handler } from './handler.js';
import type { MessageIds } from './message-ids.js';
import { Death, Spin } from './outcome.js';
import type { VppState } from './state.js';

/** What a connection needs from the life that it belongs to. */
export interface Life {
  readonly state: VppState;
  readonly ids: MessageIds;
  readonly handlers: ReadonlyMap<number, Handler>;
  /** A message of this name has come, with these fields as JSON. */
  strike(message: string, fields: () => string): Strike | undefined;
  /** Whether VPP answers nobody any more. */
  readonly hung: string | undefined;
  after(ms: number, run: () => void): void;
  die(reason: string): void;
  hang(reason: string): void;
  log(text: string): void;
}

/** The way back to the client. */
export interface Outlet {
  write(bytes: Uint8Array): void;
  close(): void;
}

const request_bytes_max = 64 * 1024 * 1024;
/** VPP sets the highest bit of the indexes of socket clients. */
const socket_client_bit = 0x8000_0000;

/** Wide numbers are no JSON. */
const inJson = (_key: string, value: unknown): unknown => (typeof value === 'bigint' ? `${value}` : value);

export class Connection implements Caller {
  readonly client_index: number;
  readonly #life: Life;
  readonly #outlet: Outlet;
  readonly #reader: FrameReader;
  readonly #gone: (() => void)[] = [];
  #out = Buffer.alloc(64 * 1024);
  #used = 0;
  #closed = false;
  /** Messages that wait for a delay to end. */
  #held: Uint8Array[] | undefined;

  constructor(life: Life, outlet: Outlet, number: number) {
    this.#life = life;
    this.#outlet = outlet;
    this.client_index = (socket_client_bit | number) >>> 0;
    this.#reader = new FrameReader(request_bytes_max, (from, at, end) => {
      if (this.#held) this.#held.push(from.bytes.slice(at, end));
      else this.#receive(from, at, end);
      return !this.#closed;
    });
  }

  data(chunk: Uint8Array): void {
    if (this.#closed || this.#life.hung !== undefined) return;
    try {
      this.#reader.push(chunk);
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error;
      this.#life.log(`client ${this.client_index}: ${error.message}`);
      this.close();
    }
    this.#flush();
  }

  onGone(run: () => void): void {
    this.#gone.push(run);
  }

  send<Event>(event: Message<Event>, fields: Event): void {
    const known = this.#life.ids.idOf(event as Message<unknown>);
    if (this.#closed || known === undefined) return;
    this.#put(known, event as Message<unknown>, 0, fields);
    this.#flush();
  }

  /** The client has gone, or has to go. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const run of this.#gone) run();
    this.#outlet.close();
  }

  #receive(from: Bytes, at: number, end: number): void {
    const { view } = from;
    const id = view.getUint16(at);
    if (id === this.#life.ids.sockclnt_create) return this.#greet(view.getUint32(at + 2));
    const handler = this.#life.handlers.get(id);
    if (handler === undefined) {
      this.#life.log(`message id ${id} is not in the table: no answer`);
      return;
    }
    const strike = this.#life.strike(handler.request.name, () =>
      JSON.stringify(this.#decode(handler, from, at, end), inJson),
    );
    if (strike !== undefined && this.#isStruck(strike, from, at, end)) return;
    this.#handle(handler, from, at, end, strike);
  }

  #handle(handler: Handler, from: Bytes, at: number, end: number, strike?: Strike): void {
    const context =
      handler.request.header === 'request' ? from.view.getUint32(at + 6) : from.view.getUint32(at + 2);
    const begin = this.#used;
    const fields = this.#decode(handler, from, at, end);
    if (fields === undefined) return;
    if (strike?.fault === 'refuse' && handler.refused !== undefined) {
      const reply = handler.answers[0]!;
      this.#put(this.#life.ids.idOf(reply)!, reply, context, { retval: strike.retval, ...handler.refused });
      return;
    }
    try {
      handler.run(this.#life.state, fields, this, (message, answer) => {
        this.#put(this.#life.ids.idOf(message)!, message, context, answer);
      });
      const deadly = this.#life.state.deadlyTraffic();
      if (deadly !== undefined) throw new Death(deadly);
    } catch (error) {
      if (!(error instanceof Death || error instanceof Spin)) throw error;
      this.#flush();
      if (error instanceof Death) this.#life.die(error.message);
      else this.#life.hang(error.message);
    }
    if (strike !== undefined) this.#spoil(strike, begin);
  }

  /** Undefined where the message is cut: VPP logs "Truncated message … dropped", and goes on with the next. */
  #decode({ request }: Handler, from: Bytes, at: number, end: number): unknown {
    try {
      return request.decode(from, at + header_size[request.header], end);
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error;
      this.#life.log(`${request.name} dropped: ${error.message}`);
      return undefined;
    }
  }

  /** True: the message is not handled now. */
  #isStruck(strike: Strike, from: Bytes, at: number, end: number): boolean {
    switch (strike.fault) {
      case 'close':
        this.#flush();
        this.close();
        return true;
      case 'hang':
        this.#flush();
        this.#life.hang('told to');
        return true;
      case 'die':
        this.#flush();
        this.#life.die('told to');
        return true;
      case 'delay':
        this.#held = [from.bytes.slice(at, end)];
        this.#life.after(strike.ms, () => this.#resume());
        return true;
      default:
        return false;
    }
  }

  #resume(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const [index, bytes] of held.entries()) {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      if (this.#closed || this.#life.hung !== undefined) return;
      if (index === 0)
        this.#handle(this.#life.handlers.get(view.getUint16(0))!, { bytes, view }, 0, bytes.length);
      else if (this.#held === undefined) this.#receive({ bytes, view }, 0, bytes.length);
      else (this.#held as Uint8Array[]).push(bytes);
    }
    this.#flush();
  }

  /** Changes the answer that begins at `begin` of the output. */
  #spoil(strike: Strike, begin: number): void {
    if (strike.fault === 'drop_reply') this.#used = begin;
    if (strike.fault === 'garbage') {
      this.#used = begin;
      const noise = Buffer.alloc(64, 0xff);
      this.#reserve(noise.length);
      this.#out.set(noise, this.#used);
      this.#used += noise.length;
    }
    if (strike.fault === 'truncate') {
      this.#used = begin + Math.ceil((this.#used - begin) / 2);
      this.#flush();
      this.close();
    }
  }

  #greet(context: number): void {
    const { reply } = sockclnt_create;
    this.#put(this.#life.ids.sockclnt_create_reply, reply as Message<unknown>, context, {
      response: 0,
      index: this.client_index,
      message_table: this.#life.ids.table,
    });
  }

  #put(id: number, message: Message<unknown>, context: number, fields: unknown): void {
    const header_bytes = header_size[message.header];
    const size = header_bytes + message.size(fields);
    this.#reserve(frame_header_bytes + size);
    const view = new DataView(this.#out.buffer, this.#out.byteOffset, this.#out.byteLength);
    const at = this.#used + frame_header_bytes;
    view.setUint16(at, id);
    if (message.header === 'request') {
      view.setUint32(at + 2, this.client_index);
      view.setUint32(at + 6, context);
    } else if (message.header === 'reply') {
      view.setUint32(at + 2, context);
    } else if (message.header === 'event') {
      view.setUint32(at + 2, this.client_index);
    }
    const end = message.encode({ bytes: this.#out, view }, at + header_bytes, fields);
    writeFrameHeader(view, this.#used, end - at);
    this.#used = end;
  }

  #reserve(bytes: number): void {
    if (this.#used + bytes <= this.#out.length) return;
    const grown = Buffer.alloc(2 * (this.#used + bytes));
    this.#out.copy(grown, 0, 0, this.#used);
    this.#out = grown;
  }

  #flush(): void {
    if (this.#used === 0 || this.#closed) return;
    const bytes = Uint8Array.prototype.slice.call(this.#out, 0, this.#used);
    this.#used = 0;
    if (this.#life.hung === undefined) this.#outlet.write(bytes);
  }
}
