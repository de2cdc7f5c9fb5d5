import type { Log } from './client.js';
import { MalformedError } from './errors.js';
import { type Bytes, header_size, type Message } from './message.js';

interface Subscribers {
  readonly message: Message<unknown>;
  readonly handlers: Set<(event: unknown) => void>;
}

/** Who listens to which event. */
export class Events {
  readonly #subscribers = new Map<number, Subscribers>();
  readonly #log: Log | undefined;
  readonly counts = { events: 0, events_ignored: 0, handler_errors: 0 };

  constructor(log: Log | undefined) {
    this.#log = log;
  }

  on<Event>(id: number, event: Message<Event>, handler: (event: Event) => void): () => void {
    const known: Subscribers = this.#subscribers.get(id) ?? { message: event, handlers: new Set() };
    // A function of its own, so that one handler given twice is called twice and unsubscribed once.
    const entry = (value: unknown) => handler(value as Event);
    known.handlers.add(entry);
    this.#subscribers.set(id, known);
    return () => {
      known.handlers.delete(entry);
    };
  }

  /** Throws MalformedError. */
  receive(id: number, from: Bytes, at: number, end: number): void {
    const known = this.#subscribers.get(id);
    if (known === undefined || known.handlers.size === 0) {
      this.counts.events_ignored += 1;
      return;
    }
    const { message, handlers } = known;
    const header_bytes = header_size[message.header];
    if (end - at < header_bytes) {
      throw new MalformedError(`${message.name} of ${end - at} bytes is shorter than its header`);
    }
    const event = message.decode(from, at + header_bytes, end);
    this.counts.events += 1;
    for (const handler of handlers) {
      try {
        handler(event);
      } catch (error) {
        this.counts.handler_errors += 1;
        this.#log?.error({ err: error, event: message.name }, `${message.name} handler failed`);
      }
    }
  }
}
