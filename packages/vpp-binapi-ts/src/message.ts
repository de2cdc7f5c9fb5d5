/**
 * What the generated bindings hand to the client: one descriptor per message.
 *
 * A message on the wire is `_vl_msg_id` (u16), then the header fields that its `header` names, then the body.
 * The client writes and reads the header; `encode` and `decode` know the body alone.
 */

/** Bytes to write into or read from: two views of one memory. */
export interface Bytes {
  readonly view: DataView;
  readonly bytes: Uint8Array;
}

/**
 * The header fields behind `_vl_msg_id`, in order: `request` client_index and context, `reply` context, `event` client_index,
 * `bare` none. Every one is a u32 in network order.
 */
export type Header = 'request' | 'reply' | 'event' | 'bare';

export const header_size: Readonly<Record<Header, number>> = { request: 10, reply: 6, event: 6, bare: 2 };

/** A message that can be sent or received. `In` is what encode takes (fields with a default may be left out). */
export interface Message<T, In = T> {
  readonly name: string;
  /** Eight hex digits, as in VPP's message table. */
  readonly crc: string;
  readonly header: Header;
  /** Bytes of the body of this value. */
  size(value: In): number;
  /** Writes the body at `at` and returns the offset behind it. The caller has made `size(value)` bytes of room. Throws MalformedError on a value that the field cannot hold. */
  encode(to: Bytes, at: number, value: In): number;
  /** Reads the body at `at`; never reads at or behind `end`. Throws MalformedError where the body is cut or a value is impossible. */
  decode(from: Bytes, at: number, end: number): T;
}

// `Self` of those below is what decode returns: the side of VPP reads what a client sends.

/** Answered by exactly one reply. */
export interface Request<In, Reply, Self = unknown> extends Message<Self, In> {
  readonly kind: 'request';
  readonly reply: Message<Reply>;
}

/** Answered by any number of details; their end is seen by the reply of a control_ping sent behind it. */
export interface Dump<In, Details, Self = unknown> extends Message<Self, In> {
  readonly kind: 'dump';
  readonly details: Message<Details>;
}

/** Answered by any number of details and one reply (which may ask to be continued from its cursor). */
export interface Stream<In, Details, Reply, Self = unknown> extends Message<Self, In> {
  readonly kind: 'stream';
  readonly details: Message<Details>;
  readonly reply: Message<Reply>;
}

/** A request after which VPP sends `event` messages without being asked. */
export interface Subscription<In, Reply, Event, Self = unknown> extends Request<In, Reply, Self> {
  readonly events: readonly Message<Event>[];
}

/** Sent by a client, never answered. */
export interface OneWay<In, Self = unknown> extends Message<Self, In> {
  readonly kind: 'one_way';
}
