/** What the client is tested against: messages of numbers only, a VPP that says what a test tells it to, and a clock turned by hand. */
import { setImmediate as turn } from 'node:timers/promises';
import { MalformedError } from '../src/errors.js';
import { bytesOf, FrameReader, frame_header_bytes, writeFrameHeader } from '../src/frames.js';
import {
  control_ping,
  memclnt_keepalive,
  sockclnt_create,
  sockclnt_delete,
} from '../src/generated/memclnt.js';
import { sockclnt_create_id, sockclnt_create_reply_id } from '../src/handshake.js';
import {
  type Dump,
  type Header,
  header_size,
  type Message,
  type OneWay,
  type Request,
  type Stream,
  type Subscription,
} from '../src/message.js';
import type { Timers } from '../src/timers.js';
import type { Receiver, Transport } from '../src/transport.js';

export { turn };

export type Words<Field extends string> = Record<Field, number>;

/** A message whose body is one i32 per field. */
function words<Field extends string>(
  name: string,
  crc: string,
  header: Header,
  ...fields: Field[]
): Message<Words<Field>> {
  return {
    name,
    crc,
    header,
    size: () => 4 * fields.length,
    encode(to, at, value) {
      for (const [i, field] of fields.entries()) {
        if (!Number.isInteger(value[field]))
          throw new MalformedError(`${name}.${field}: ${value[field]} is not an i32`);
        to.view.setInt32(at + 4 * i, value[field]);
      }
      return at + 4 * fields.length;
    },
    decode(from, at, end) {
      if (end - at < 4 * fields.length) throw new MalformedError(`${name}: cut`);
      return Object.fromEntries(
        fields.map((field, i) => [field, from.view.getInt32(at + 4 * i)]),
      ) as Words<Field>;
    },
  };
}

export const add_reply = words('add_reply', '00000002', 'reply', 'retval', 'sum');
export const add: Request<Words<'a' | 'b'>, Words<'retval' | 'sum'>> = {
  ...words('add', '00000001', 'request', 'a', 'b'),
  kind: 'request',
  reply: add_reply,
};
export const item_details = words('item_details', '00000004', 'request', 'item');
export const item_dump: Dump<Words<'from'>, Words<'item'>> = {
  ...words('item_dump', '00000003', 'request', 'from'),
  kind: 'dump',
  details: item_details,
};
export const page_details = words('page_details', '00000007', 'reply', 'item');
export const page_get_reply = words('page_get_reply', '00000006', 'reply', 'retval', 'cursor');
export const page_get: Stream<Words<'cursor'>, Words<'item'>, Words<'retval' | 'cursor'>> = {
  ...words('page_get', '00000005', 'request', 'cursor'),
  kind: 'stream',
  details: page_details,
  reply: page_get_reply,
};
export const thing_event = words('thing_event', '0000000a', 'event', 'thing');
export const want_things: Subscription<Words<'enable'>, Words<'retval'>, Words<'thing'>> = {
  ...words('want_things', '00000008', 'request', 'enable'),
  kind: 'request',
  reply: words('want_things_reply', '00000009', 'reply', 'retval'),
  events: [thing_event],
};
export const nudge: OneWay<Words<'n'>> = { ...words('nudge', '0000000b', 'request', 'n'), kind: 'one_way' };

export type AnyMessage = Message<unknown, never>;

const known: readonly AnyMessage[] = [
  add,
  add.reply,
  item_dump,
  item_details,
  page_get,
  page_get.reply,
  page_details,
  want_things,
  want_things.reply,
  thing_event,
  nudge,
  control_ping,
  control_ping.reply,
  memclnt_keepalive,
  memclnt_keepalive.reply,
  sockclnt_delete,
  sockclnt_delete.reply,
];

/** The number that VPP returned for this client: the handle of a socket has its highest bit set. */
export const client_index = 0x80000001;
export const vpe_pid = 4711;

export interface Asked {
  readonly name: string;
  readonly context: number;
  readonly client_index: number;
  readonly fields: unknown;
}

export function frame(id: number, message: AnyMessage, context: number, fields: unknown): Uint8Array {
  const header = header_size[message.header];
  const body = message.size(fields as never);
  const bytes = bytesOf(new Uint8Array(frame_header_bytes + header + body));
  writeFrameHeader(bytes.view, 0, header + body);
  bytes.view.setUint16(frame_header_bytes, id);
  if (message.header !== 'bare') bytes.view.setUint32(frame_header_bytes + header - 4, context);
  message.encode(bytes, frame_header_bytes + header, fields as never);
  return bytes.bytes;
}

/** Both ends at once: the transport that the client is given, and the VPP behind it. */
export class Peer implements Transport {
  /** All that came, since the handshake. */
  readonly asked: Asked[] = [];
  /** Requests to close the connection. */
  readonly farewells: Asked[] = [];
  /** Whether it does so. */
  polite = true;
  /** Of every write of the client. */
  readonly writes: number[] = [];
  /** Every byte that was sent to the client. */
  readonly sent: Uint8Array[] = [];
  closed = false;
  /** What write() returns; the bytes are taken anyway, as a kernel takes them later. */
  takes_all = true;
  /** Called for every message; answers by `say`. */
  serve: (asked: Asked) => void = () => {};
  readonly #ids: Map<string, number>;
  readonly #messages: readonly AnyMessage[];
  readonly #table: readonly { index: number; name: string }[];
  #receiver: Receiver | undefined;
  #late: Uint8Array[] = [];
  #stopped = false;

  /** @param change what VPP's message table has that the bindings do not expect. */
  constructor(change: (name_crc: string) => string | undefined = (name_crc) => name_crc) {
    this.#messages = known;
    // Numbers as VPP gives them: not from 0, and not in the order of anything.
    this.#ids = new Map(known.map(({ name }, i) => [name, 900 - 7 * i]));
    this.#table = known.flatMap(({ name, crc }) => {
      const entry = change(`${name}_${crc}`);
      return entry === undefined ? [] : [{ index: this.id(name), name: entry }];
    });
  }

  id(name: string): number {
    return this.#ids.get(name)!;
  }

  attach(receiver: Receiver): void {
    this.#receiver = receiver;
  }

  write(chunk: Uint8Array): boolean {
    this.writes.push(chunk.length);
    this.#reader.push(chunk.slice());
    return this.takes_all;
  }

  drain(): void {
    this.#receiver?.drained();
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    queueMicrotask(() => this.#receiver?.closed());
  }

  /** As when VPP dies. */
  hangUp(cause?: Error): void {
    this.closed = true;
    this.#receiver?.closed(cause);
  }

  /** Sends one message. */
  say(message: AnyMessage, context: number, fields: unknown): void {
    this.deliver(frame(this.id(message.name), message, context, fields));
  }

  answer(asked: Asked | undefined, message: AnyMessage, fields: unknown): void {
    this.say(message, asked!.context, fields);
  }

  /** Bytes to the client; behind the write that they answer. */
  deliver(bytes: Uint8Array): void {
    this.sent.push(bytes);
    this.#late.push(bytes);
    if (this.#late.length === 1) queueMicrotask(() => this.#flush());
  }

  /** Whether the client wants no more for now. */
  get stopped(): boolean {
    return this.#stopped;
  }

  resume(): void {
    this.#stopped = false;
    queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    const chunks = this.#late;
    let taken = 0;
    while (taken < chunks.length && !this.closed && !this.#stopped) {
      this.#stopped = this.#receiver?.data(chunks[taken]!) === false;
      taken += 1;
    }
    this.#late = chunks.slice(taken);
  }

  readonly #reader = new FrameReader(1 << 20, (from, at, end) => {
    const id = from.view.getUint16(at);
    if (id === sockclnt_create_id) {
      const greeting = { response: 0, index: client_index, message_table: this.#table };
      this.deliver(
        frame(sockclnt_create_reply_id, sockclnt_create.reply, from.view.getUint32(at + 2), greeting),
      );
      return true;
    }
    const message = this.#messages.find(({ name }) => this.id(name) === id)!;
    const header = header_size[message.header];
    const asked: Asked = {
      name: message.name,
      context: from.view.getUint32(at + header - 4),
      client_index: from.view.getUint32(at + 2),
      fields: message.decode(from, at + header, end),
    };
    if (message.name === sockclnt_delete.name) {
      this.farewells.push(asked);
      if (this.polite) {
        this.answer(asked, sockclnt_delete.reply, { response: 1 });
        setImmediate(() => !this.closed && this.hangUp());
      }
      return true;
    }
    this.asked.push(asked);
    this.serve(asked);
    return true;
  });
}

/** Answers as a VPP does that adds numbers, has items 1 to 3, and interrupts a long page after two. */
export function serveNumbers(peer: Peer): void {
  peer.serve = (asked) => {
    const fields = asked.fields as Record<string, number>;
    if (asked.name === 'add') {
      const sum = fields.a! + fields.b!;
      peer.answer(asked, add_reply, { retval: Math.min(sum, 0), sum });
    } else if (asked.name === 'item_dump') {
      for (let item = fields.from!; item <= 3; item++) peer.answer(asked, item_details, { item });
    } else if (asked.name === 'control_ping') {
      peer.answer(asked, control_ping.reply, { retval: 0, client_index: asked.client_index, vpe_pid });
    } else if (asked.name === 'page_get') {
      const cursor = fields.cursor!;
      for (let item = cursor; item < cursor + 2; item++) peer.answer(asked, page_details, { item });
      const retval = cursor < 4 ? -165 : 0;
      peer.answer(asked, page_get_reply, { retval, cursor: cursor + 2 });
    }
  };
}

export class TurnedTimers implements Timers {
  #now_ms = 1000;
  #timers: { at_ms: number; run: () => void }[] = [];
  #polls: (() => void)[] = [];

  now_ms(): number {
    return this.#now_ms;
  }

  after(ms: number, run: () => void): { cancel(): void } {
    const timer = { at_ms: this.#now_ms + ms, run };
    this.#timers.push(timer);
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((one) => one !== timer);
      },
    };
  }

  afterPoll(run: () => void): void {
    this.#polls.push(run);
  }

  get armed(): number {
    return this.#timers.length;
  }

  /** Time that passes in which no turn of the event loop ends: as a handler that takes long. */
  pass(ms: number): void {
    this.#now_ms += ms;
  }

  /** Time passes, and the timers that are due run: nothing is read yet. */
  fire(ms: number): void {
    this.#now_ms += ms;
    const due = this.#timers.filter((timer) => timer.at_ms <= this.#now_ms);
    this.#timers = this.#timers.filter((timer) => timer.at_ms > this.#now_ms);
    for (const timer of due) timer.run();
  }

  /** A poll phase: what was sent is read, and what waits for that runs. Returns whether anything did. */
  async poll(): Promise<boolean> {
    await turn();
    const polls = this.#polls;
    this.#polls = [];
    for (const run of polls) run();
    await turn();
    return polls.length > 0;
  }

  /** Turns until nothing is left to do at this time. */
  async advance(ms: number): Promise<void> {
    this.fire(ms);
    while (await this.poll());
  }
}
